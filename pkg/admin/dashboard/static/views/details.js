// All that is known of one backend, and all that can be done with it, in a drawer.

import { h, text, attribute } from "../lib/dom.js";
import { Sparkline } from "../lib/chart.js";
import { drawer } from "../lib/dialog.js";
import { bytes, clock, count, duration, milliseconds, none, plural, rate, speed } from "../lib/format.js";
import { state } from "../model.js";
import { tagsOf, weight, words } from "./pools.js";

// Charts are series of the history with how to say a value v of a step of so many seconds.
const charts = [
  ["active", "Sessions", (v) => count(v)],
  ["sessions", "New sessions", (v, step) => `${rate(v / step)}/s`],
  ["connect_ms", "Connect", (v) => milliseconds(v)],
  ["bytes_up", "To it", (v, step) => speed(v / step)],
  ["bytes_down", "From it", (v, step) => speed(v / step)],
  ["failures", "Failed connects", (v, step) => `${rate(v / step)}/s`],
];

export class Details {
  // Show filters the session table by a backend.
  constructor(model, actions, show) {
    Object.assign(this, { model, actions, show, open: null });
  }

  toggle(pool, name) {
    const b = this.model.backend(pool, name);
    if (!b) return;
    this.open = new Panel(pool, b, this);
    this.open.dialog.addEventListener("close", () => (this.open = null));
    this.update();
  }

  update() {
    if (!this.open) return;
    const b = this.model.backend(this.open.pool, this.open.name);
    if (b) this.open.update(b, this.model);
    else this.open.dialog.close();
  }
}

class Panel {
  constructor(pool, b, { actions, show }) {
    Object.assign(this, { pool, name: b.name });
    const act = (label, what, classes = "") => h("button", { type: "button", class: classes, onclick: () => what(pool, this.now) }, label);
    this.modes = {
      ready: act("Ready", (p, now) => actions.ready(p, now)),
      drain: act("Drain", (p, now) => actions.drain(p, now)),
      maintenance: act("Maintenance", (p, now) => actions.maintenance(p, now)),
    };
    this.facts = h("dl", { class: "sheet" });
    this.values = new Map();
    this.state = h("b", { class: "state" });
    this.words = h("span", { class: "soft" });
    this.charts = charts.map(([key, label, format]) => new Chart(key, label, format));
    this.dialog = drawer(
      b.name,
      h("p", { class: "now" }, this.state, " ", this.words),
      h("div", { class: "modes", role: "group", "aria-label": "Mode" }, ...Object.values(this.modes)),
      h(
        "div",
        { class: "row" },
        act("Weight…", (p, now) => actions.weight(p, now)),
        h("button", { type: "button", onclick: () => (this.dialog.close(), show(this.name)) }, "Show its sessions"),
        act("Kill sessions…", (p, now) => actions.killAll(p, now), "danger"),
        act("Remove…", (p, now) => actions.remove(p, now), "danger"),
      ),
      h("div", { class: "charts" }, ...this.charts.map((c) => c.node)),
      this.facts,
    );
  }

  update(b, model) {
    this.now = b;
    const { word, style } = state(b);
    text(this.state, word);
    attribute(this.state, "class", `state ${style}`);
    text(this.words, words(b));
    for (const [mode, button] of Object.entries(this.modes)) {
      attribute(button, "aria-pressed", String(b.mode === mode));
      button.disabled = b.mode === mode && !(mode === "ready" && b.held); // a person lets it in
    }
    const series = model.series(this.pool, b.name);
    for (const chart of this.charts) chart.update(series, model.step);
    for (const [name, value] of facts(this.pool, b)) this.fact(name, value);
  }

  fact(name, value) {
    let node = this.values.get(name);
    if (!node) {
      this.values.set(name, (node = h("dd")));
      this.facts.append(h("div", {}, h("dt", {}, name), node));
    }
    text(node, value);
    node.parentNode.hidden = value === "";
  }
}

function facts(pool, b) {
  const health = b.since ? `${b.health}, since ${clock(b.since)}` : b.health;
  return [
    ["Pool", pool],
    ["Address", b.address],
    ["Usable", b.usable ? "yes" : `no${b.excluded ? `: ${b.excluded}` : ""}`],
    ["Health", health],
    ["Last probe", [b.probe, b.reason].filter(Boolean).join(": ")],
    ["Breaker", breaker(b)],
    ["Role", b.role ?? ""],
    ["Lag", b.lag_seconds ? duration(b.lag_seconds) : b.lag_bytes ? bytes(b.lag_bytes) : ""],
    ["Timeline", b.timeline ? String(b.timeline) : ""],
    ["Version", b.server_version ?? ""],
    ["Tags", tagsOf(b).join(", ")],
    ["Weight", weight(b)],
    ["Sessions now", b.max_connections > 0 ? `${count(b.active)} of at most ${count(b.max_connections)}` : count(b.active)],
    ["Sessions since start", count(b.sessions)],
    ["Connects", `${count(b.dials)}, of which ${count(b.dial_failures)} failed`],
    ["Bytes", `${bytes(b.bytes_up)} up, ${bytes(b.bytes_down)} down`],
  ];
}

function breaker(b) {
  const open = b.breaker === "open" && b.breaker_until ? `, until ${clock(b.breaker_until)}` : "";
  return `${b.breaker ?? ""}${open}${b.ejections > 0 ? `; opened ${plural(b.ejections, "time")}` : ""}`;
}

class Chart {
  constructor(key, label, format) {
    Object.assign(this, { key, format });
    this.spark = new Sparkline();
    this.value = h("span", { class: "figure" });
    this.top = h("span", { class: "soft" });
    this.node = h("figure", {}, h("figcaption", {}, label, " ", this.value, this.top), this.spark.node);
  }

  update(series, step) {
    const values = (series[this.key] ?? []).filter((v) => v !== null);
    text(this.value, values.length > 0 ? this.format(values.at(-1), step) : none);
    text(this.top, values.length > 0 ? `at most ${this.format(Math.max(...values), step)} in 10 min` : "");
    this.spark.update(series[this.key]);
  }
}

// Pools and their backends: a card a pool, a row a backend.

import { h, text, attribute, hidden, List } from "../lib/dom.js";
import { Slice, Sparkline } from "../lib/chart.js";
import { both, bytes, count, milliseconds, plural, rate, since, until } from "../lib/format.js";
import { backendKey, poolKey, state } from "../model.js";

const openAtFirst = 60; // backends in all, up to which every pool starts open
const openWhenFound = 200; // backends that a filter found, up to which their pools open
const roomy = 12; // pools up to which cards have room
const compactFrom = 16; // backends of a pool from which its rows are single lines
const page = 100; // rows of a pool before one asks for more

export class Pools {
  // Tools are {actions, details(pool, backend), changed()}: changed is called when a
  // person opens, closes or filters, so that the page may look again.
  constructor(root, count, filter, show, tools) {
    Object.assign(this, { root, counted: count, filter, show, tools, opened: new Map() });
    this.empty = h("p", { class: "empty card", hidden: true });
    root.before(this.empty);
    this.list = new List(root, (p) => p.name, (p) => new Pool(p.name, this));
    filter.addEventListener("input", () => tools.changed());
    show.addEventListener("change", () => tools.changed());
  }

  update(model) {
    this.model = model;
    const words = this.filter.value.trim().toLowerCase();
    const narrowed = words !== "" || this.show.value !== "all";
    const all = model.pools.reduce((n, p) => n + p.backends.length, 0);
    this.small = all <= openAtFirst;
    const shown = model.pools
      .map((p) => ({ ...p, shown: [...p.backends, ...(p.leaving ?? [])].filter((b) => this.matches(p, b, words)) }))
      .filter((p) => p.shown.length > 0 || !narrowed);
    this.found = narrowed && shown.reduce((n, p) => n + p.shown.length, 0) <= openWhenFound;
    this.root.classList.toggle("dense", model.pools.length > roomy);
    this.list.update(shown);
    this.count(model.pools);
    text(this.counted, `${plural(model.pools.length, "pool")}, ${plural(all, "backend")}`);
    hidden(this.empty, shown.length > 0);
    text(this.empty, this.show.value === "trouble" && words === "" ? "Every backend is usable. Nothing to see here, and that is good." : "No backend matches. Clear the filter to see all of them.");
  }

  // count says in the choices how many each of them shows.
  count(pools) {
    const all = pools.flatMap((p) => p.backends);
    const [, trouble, override] = this.show.options;
    text(trouble, `Not usable (${count(all.filter((b) => !b.usable).length)})`);
    text(override, `Changed by hand (${count(all.filter((b) => b.override).length)})`);
  }

  matches(pool, b, words) {
    if (this.show.value === "trouble" && b.usable) return false;
    if (this.show.value === "override" && !b.override) return false;
    return words === "" || [pool.name, b.name, b.address].some((name) => name.toLowerCase().includes(words));
  }

  // isOpen is what a person chose, or else whether there is little enough to show.
  isOpen(name) {
    return this.found || (this.opened.get(name) ?? this.small);
  }

  toggle(name) {
    this.opened.set(name, !this.isOpen(name));
    this.tools.changed();
  }

  // openPools are those whose history is worth asking for.
  openPools() {
    return [...this.list.parts.keys()].filter((name) => this.isOpen(name));
  }
}

class Pool {
  constructor(name, all) {
    Object.assign(this, { name, all, limit: page });
    this.slice = new Slice();
    this.usable = h("p", { class: "soft" });
    this.problem = h("p", { class: "problem", hidden: true });
    this.add = h("button", { type: "button", class: "quiet add", "aria-label": `Add a backend to ${name}`, onclick: () => all.tools.actions.add(name) }, "Add backend");
    this.toggle = h("button", { type: "button", class: "fold", onclick: () => all.toggle(name) }, name);
    this.active = h("dd");
    this.fresh = h("dd");
    this.traffic = h("dd");
    this.spark = new Sparkline();
    this.rows = h("tbody", { role: "rowgroup" });
    this.list = new List(this.rows, (b) => `${b.mode === "removed"} ${b.name}`, (b) => new Row(name, b.name, all.tools));
    this.more = h("button", { type: "button", class: "quiet more", onclick: () => this.showMore() });
    this.body = h(
      "div",
      { class: "body" },
      h("table", { class: "backends", role: "table", "aria-label": `Backends of ${name}` }, head(), this.rows),
      this.more,
    );
    this.node = h(
      "article",
      { class: "pool card", "data-pool": name },
      h(
        "header",
        {},
        this.slice.node,
        h("div", { class: "name" }, h("h3", {}, this.toggle), this.usable),
        h("dl", { class: "facts" }, fact("sessions", this.active), fact("new/s", this.fresh), fact("up, down", this.traffic)),
        this.spark.node,
        this.add,
      ),
      this.problem,
      this.body,
    );
  }

  showMore() {
    this.limit += page;
    this.all.tools.changed();
  }

  update(p) {
    const { model } = this.all;
    const most = Math.max(1, ...p.backends.map((b) => b.active));
    const rates = model.rates(poolKey(p.name));
    this.slice.update(p.backends.map((b) => ({ state: state(b).style, load: state(b).style === "down" ? 1 : b.active / most })));
    text(this.usable, standing(p));
    text(this.problem, problem(p));
    hidden(this.problem, problem(p) === "");
    hidden(this.add, Boolean(p.removed));
    this.node.classList.toggle("bad", p.usable < p.quorum || p.usable === 0);
    this.node.classList.toggle("compact", p.backends.length >= compactFrom);
    text(this.active, count(p.active));
    text(this.fresh, rate(rates.sessions));
    text(this.traffic, both(rates));
    this.spark.update(model.poolTrail(p.name));
    const open = this.all.isOpen(p.name);
    attribute(this.toggle, "aria-expanded", String(open));
    hidden(this.body, !open);
    if (!open) return this.list.update([]);
    this.list.update(p.shown.slice(0, this.limit).map((b) => ({ ...b, most, model })));
    const rest = p.shown.length - this.limit;
    hidden(this.more, rest <= 0);
    text(this.more, `Show ${Math.min(page, rest)} more of ${count(rest)}`);
  }
}

// standing is how many backends serve, what is wrong with the others, and who waits.
function standing(p) {
  if (p.removed) return "removed from the configuration; its last sessions live";
  const others = new Map();
  for (const b of p.backends) if (!b.usable) others.set(state(b).word, (others.get(state(b).word) ?? 0) + 1);
  const needed = p.quorum > 1 ? ` (${count(p.quorum)} needed)` : "";
  const held = p.held > 0 ? [`${count(p.held)} held by the backends' rate`] : [];
  return [`${count(p.usable)} of ${count(p.backends.length)} usable${needed}`, ...[...others].map(([word, n]) => `${count(n)} ${word}`), ...held].join(" · ");
}

// problem is what is wrong with the pool as a whole.
function problem(p) {
  if (!p.split) return "";
  return `Several backends claim to be the primary: ${p.split}.${p.refusing ? " None of them is used until one is left." : ""}`;
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), value);

function head() {
  const names = ["Backend", "State", "Sessions", "New/s", "Connect", "Last 10 min", "Up, down", "Weight", ""];
  const cells = names.map((name) => h("th", { scope: "col", role: "columnheader", class: name.toLowerCase().split(/\W/)[0] || "acts" }, name || h("span", { class: "unseen" }, "Actions")));
  return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...cells));
}

// Row is one backend. Roles are spelled out because the narrow layout takes the table's
// own away.
class Row {
  constructor(pool, name, tools) {
    const cell = (classes, ...content) => h("td", { class: classes, role: "cell" }, ...content);
    this.pool = pool;
    this.open = h("button", { type: "button", class: "link", onclick: () => tools.details(pool, name) }, name);
    this.address = h("span", { class: "soft" });
    this.tags = h("span", { class: "tags" });
    this.state = h("b", { class: "state" });
    this.words = h("span", { class: "soft words" });
    this.active = h("span", { class: "figure" });
    this.bar = h("span", { class: "fill" });
    this.fresh = cell("num fresh");
    this.connect = cell("num connect");
    this.spark = new Sparkline();
    this.traffic = cell("num traffic");
    this.weight = cell("num weight");
    this.mode = h("button", { type: "button", class: "small", onclick: () => this.switchMode(tools.actions) });
    this.kill = h("button", { type: "button", class: "small quiet", "aria-label": `Kill the sessions of ${name}`, onclick: () => tools.actions.killAll(pool, this.now) }, "Kill");
    this.details = h("button", { type: "button", class: "small quiet", "aria-label": `Details and actions of ${name}`, onclick: () => tools.details(pool, name) }, "More");
    this.node = h(
      "tr",
      { role: "row", "data-backend": name },
      h("th", { scope: "row", role: "rowheader", class: "backend" }, this.open, this.tags, this.address),
      cell("state", this.state, this.words),
      cell("num sessions", this.active, h("span", { class: "load", "aria-hidden": "true" }, this.bar)),
      this.fresh,
      this.connect,
      cell("last", this.spark.node),
      this.traffic,
      this.weight,
      cell("acts", this.mode, this.details, this.kill),
    );
  }

  update(b) {
    this.now = b;
    const { word, style } = state(b);
    const rates = b.model.rates(backendKey(this.pool, b.name));
    attribute(this.node, "class", style);
    text(this.address, b.address === b.name ? "" : b.address);
    attribute(this.open, "title", b.name);
    text(this.state, word);
    attribute(this.state, "class", `state ${style}`);
    text(this.words, words(b));
    attribute(this.words, "title", words(b));
    text(this.active, b.max_connections > 0 ? `${count(b.active)}/${count(b.max_connections)}` : count(b.active));
    this.bar.style.width = `${(100 * b.active) / b.most}%`;
    text(this.fresh, rate(rates.sessions));
    text(this.connect, milliseconds(b.model.connect(this.pool, b.name)));
    this.spark.update(b.model.series(this.pool, b.name).active);
    text(this.traffic, both(rates));
    text(this.weight, weight(b));
    this.tag(b);
    const gone = b.mode === "removed"; // all there is to do with it is to cut its sessions
    for (const button of [this.mode, this.details]) hidden(button, gone);
    hidden(this.kill, !gone);
    this.open.disabled = gone;
    const does = b.held ? "Let in" : b.mode === "ready" ? "Drain" : "Ready";
    text(this.mode, does);
    attribute(this.mode, "aria-label", `${does}: ${b.name}`);
  }

  tag(b) {
    const tags = tagsOf(b);
    if (this.tagged === tags.join()) return;
    this.tagged = tags.join();
    this.tags.replaceChildren(...tags.map((t) => h("span", { class: "tag" }, t)));
  }

  switchMode(actions) {
    return this.now.mode === "ready" && !this.now.held ? actions.drain(this.pool, this.now) : actions.ready(this.pool, this.now);
  }
}

// words are why and since when a backend is as it is.
export function words(b) {
  if (b.mode === "removed") return "its last sessions live";
  const bits = [];
  if (b.breaker === "open" && b.mode === "ready" && b.health !== "down") {
    return [b.excluded, b.breaker_until ? `tried again in ${until(b.breaker_until)}` : ""].filter(Boolean).join(" · ");
  }
  const plain = b.mode === "ready" && b.health === "up" && b.usable;
  if (b.mode !== "ready" && b.health === "down") bits.push(`down: ${b.reason || "no reason known"}`);
  else if (!plain && b.reason) bits.push(b.reason);
  else if (!plain && b.mode === "ready" && b.excluded) bits.push(b.excluded);
  if (b.lag_seconds) bits.push(`lag ${b.lag_seconds.toFixed(1)} s`);
  else if (b.lag_bytes) bits.push(`lag ${bytes(b.lag_bytes)}`);
  if (b.since && b.mode === "ready") bits.push(`for ${since(b.since)}`);
  return bits.join(" · ");
}

export function tagsOf(b) {
  const tags = [];
  if (b.role) tags.push(b.role);
  if (b.backup) tags.push("backup");
  if (b.override?.added) tags.push("added by hand");
  else if (b.override) tags.push("by hand");
  return tags;
}

export function weight(b) {
  const effective = b.effective_weight;
  return effective !== undefined && Math.abs(effective - b.weight) > 1e-9 && b.mode === "ready" ? `${Number(effective.toFixed(1))} of ${b.weight}` : String(b.weight);
}

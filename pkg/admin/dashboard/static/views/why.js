// The answer to "where would this client go, and why there?"

import * as api from "../api.js";
import { h, List } from "../lib/dom.js";
import { count, since } from "../lib/format.js";

export class Why {
  constructor(form, listener, client, answer) {
    Object.assign(this, { client, answer });
    this.select = listener;
    this.options = new List(listener, (l) => l.name, (l) => ({ node: h("option", { value: l.name }, l.name), update() {} }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  update(model) {
    this.options.update(model.listeners);
  }

  // askAbout asks for a person who clicked elsewhere.
  askAbout(listener, client) {
    this.select.value = listener;
    this.client.value = client;
    return this.ask();
  }

  async ask() {
    try {
      this.answer.replaceChildren(...told(await api.explain(this.select.value, this.client.value.trim())));
    } catch (problem) {
      this.answer.replaceChildren(h("p", { class: "problem" }, problem.message));
    }
  }
}

// Outcomes are how to say and show what becomes of a client that is not served.
const outcomes = { refused: ["refused", "down"], held: ["held", "warn"], queued: ["waits in the kernel", "warn"] };

function verdict(e) {
  if (e.outcome === "served") return h("p", { class: "verdict" }, `${e.client} gets `, h("b", {}, e.backend), ` by ${e.algorithm}`);
  const [word, style] = outcomes[e.outcome] ?? outcomes.refused;
  const why = e.refused_by ? ` by ${e.refused_by}` : ": no backend is usable";
  return h("p", { class: "verdict" }, `${e.client} is `, h("b", { class: `state ${style}` }, word), why);
}

function told(e) {
  const names = ["Backend", "Now", "Load", "Sessions", "Weight", "Last probe"];
  const head = h("thead", {}, h("tr", {}, ...names.map((n, i) => h("th", { scope: "col", class: i > 1 && i < 5 ? "num" : null }, n))));
  const rows = [...e.candidates].sort((a, b) => b.usable - a.usable || a.load - b.load).map((c) => candidate(c, c.backend === e.backend, e.outcome === "served"));
  const table = h("table", { class: "candidates" }, head, h("tbody", {}, ...rows.slice(0, 200)));
  return [verdict(e), h("p", {}, e.reason), h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": "Candidates" }, table)];
}

function candidate(c, picked, served) {
  const now = c.usable ? `usable${c.tier ? ` (${c.tier})` : ""}` : c.excluded;
  const age = !c.usable && c.since ? ` · ${since(c.since)}` : "";
  const probe = [c.probe, c.probe_reason].filter(Boolean).join(": ");
  const num = (value) => h("td", { class: "num" }, value);
  return h(
    "tr",
    { class: picked ? (served ? "picked" : "would") : null },
    h("th", { scope: "row" }, c.backend, picked ? h("span", { class: "tag" }, served ? "picked" : "would be picked") : null),
    h("td", {}, h("b", { class: `state ${c.usable ? "up" : c.health === "down" ? "down" : "warn"}` }, now), age),
    num(c.usable ? c.load.toFixed(2) : "–"),
    num(count(c.active)),
    num(String(c.effective_weight ?? c.weight)),
    h("td", {}, probe, probe && c.probe_at ? `, ${since(c.probe_at)} ago` : ""),
  );
}

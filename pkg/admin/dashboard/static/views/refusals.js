// Clients that an access list or a limit kept out: how many, how fast, who was the latest,
// and which rule refused it. Rows are in the order of listeners and reasons,
// so that they stay where they are.

import { h, text, attribute, hidden, List } from "../lib/dom.js";
import { count, none, plural, rate, since } from "../lib/format.js";
import { refusalKinds, total } from "../model.js";

export class Refusals {
  // Ask opens the answer to why a listener refuses a client.
  constructor(root, counted, ask) {
    this.counted = counted;
    this.rows = h("tbody", { role: "rowgroup" });
    this.list = new List(this.rows, (r) => `${r.listener} ${r.word} ${r.reason}`, () => new Row(ask));
    this.table = h("table", { class: "refusals", role: "table", "aria-labelledby": "refusals-title" }, head(), this.rows);
    this.empty = h("p", { class: "empty small" }, "No client was refused or held since the start.");
    root.append(this.table, this.empty);
  }

  update(model) {
    const rows = model.listeners.flatMap((l) => refusalKinds(l).flatMap((kind) => rowsOf(model, l, kind)));
    this.list.update(rows);
    hidden(this.table, rows.length === 0);
    hidden(this.empty, rows.length > 0);
    const out = total(rows.filter((r) => r.word === "refused").map((r) => r.n)) ?? 0;
    text(this.counted, rows.length > 0 ? `${plural(out, "client")} refused since the start` : "");
  }
}

function rowsOf(model, l, { word, style, counts, key }) {
  const rates = model.rates(key);
  const isLatest = (r, reason) => word !== "held" && r.reason === reason && Boolean(r.dry_run) === (word === "dry run");
  return Object.entries(counts).map(([reason, n]) => {
    return { listener: l.name, word, style, reason, n, now: rates[reason] ?? 0, latest: l.refused_lately.find((r) => isLatest(r, reason)) };
  });
}

function head() {
  const names = [["Listener"], ["What"], ["Clients", "num"], ["Per second", "num"], ["Latest one"], ["Rule"]];
  const cells = names.map(([name, style]) => h("th", { scope: "col", role: "columnheader", class: style ?? null }, name));
  const acts = h("th", { scope: "col", role: "columnheader", class: "acts" }, h("span", { class: "unseen" }, "Actions"));
  return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...cells, acts));
}

class Row {
  constructor(ask) {
    const cell = (label, classes, ...content) => h("td", { class: classes, role: "cell", "data-label": label }, ...content);
    this.listener = h("th", { scope: "row", role: "rowheader" });
    this.word = h("b", { class: "state" });
    this.reason = h("span");
    this.n = cell("Clients", "num");
    this.now = cell("Per second", "num");
    this.client = h("span");
    this.ago = h("span", { class: "soft" });
    this.latest = cell("Latest one", "latest", this.client, this.ago);
    this.rule = cell("Rule", "rule");
    this.why = h("button", { type: "button", class: "small quiet", onclick: () => ask(this.row.listener, this.row.latest.client) }, "Why?");
    this.node = h("tr", { role: "row" }, this.listener, cell("What", "what", this.word, " ", this.reason), this.n, this.now, this.latest, this.rule, cell("", "acts", this.why));
  }

  update(row) {
    this.row = row;
    const { listener, word, style, reason, n, now, latest } = row;
    attribute(this.node, "data-refusal", `${listener} ${reason}`);
    attribute(this.node, "class", now > 0 ? "rising" : null);
    text(this.listener, listener);
    text(this.word, word);
    attribute(this.word, "class", `state ${style}`);
    text(this.reason, reason);
    text(this.n, count(n));
    text(this.now, rate(now));
    text(this.client, latest ? latest.client : none);
    text(this.ago, latest ? ` ${since(latest.time)} ago` : "");
    text(this.rule, latest?.rule ?? "");
    attribute(this.rule, "title", latest?.rule ?? null);
    hidden(this.why, !latest);
    attribute(this.why, "aria-label", latest ? `Why is ${latest.client} refused by ${listener}?` : null);
  }
}

// The listeners: where clients come in, and how their sessions ended.

import { h, text, attribute, List } from "../lib/dom.js";
import { Sparkline } from "../lib/chart.js";
import { both, count, rate } from "../lib/format.js";
import { listenerKey } from "../model.js";

export class Listeners {
  constructor(root) {
    this.list = new List(root, (l) => l.name, () => new Listener());
  }

  update(model) {
    this.list.update(model.listeners.map((l) => ({ ...l, model })));
  }
}

class Listener {
  constructor() {
    this.name = h("h3");
    this.where = h("p", { class: "soft" });
    this.active = h("dd");
    this.fresh = h("dd");
    this.traffic = h("dd");
    this.spark = new Sparkline();
    this.reasons = h("ul", { class: "reasons" });
    this.list = new List(this.reasons, ([reason]) => reason, makeReason);
    this.node = h(
      "article",
      { class: "listener" },
      h("div", {}, this.name, this.where),
      this.spark.node,
      h(
        "dl",
        { class: "facts" },
        h("div", {}, h("dt", {}, "sessions"), this.active),
        h("div", {}, h("dt", {}, "new/s"), this.fresh),
        h("div", {}, h("dt", {}, "up, down"), this.traffic),
      ),
      h("details", {}, h("summary", {}, "How sessions ended"), this.reasons),
    );
  }

  update(l) {
    const rates = l.model.rates(listenerKey(l.name));
    text(this.name, l.name);
    text(this.where, `${l.addresses.join(", ")} → ${l.pool}`);
    text(this.active, count(l.active));
    text(this.fresh, rate(rates.sessions));
    text(this.traffic, both(rates));
    this.spark.update(l.model.listenerTrail("active", l.name));
    const ended = Object.entries(l.reasons).filter(([, n]) => n > 0);
    this.list.update(ended.length > 0 ? ended.sort((a, b) => b[1] - a[1]) : [["none has ended yet", null]]);
  }
}

// Reasons that are the client's or backend's own decision are no news; the others are.
const ordinary = new Set(["client-closed", "backend-closed", "none has ended yet"]);

function makeReason([reason]) {
  const number = h("b");
  const node = h("li", {}, reason, " ", number);
  attribute(node, "class", ordinary.has(reason) ? null : "odd");
  return { node, update: ([, n]) => text(number, n === null ? "" : count(n)) };
}

// The listeners: where clients come in, how their sessions ended, and how many did not get
// in at all.

import { h, text, attribute, hidden, List } from "../lib/dom.js";
import { Sparkline } from "../lib/chart.js";
import { both, count, plural, rate } from "../lib/format.js";
import { endedKey, listenerKey, refusalKinds, total } from "../model.js";

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
    this.refused = h("dd");
    this.spark = new Sparkline();
    this.ended = h("ul", { class: "reasons" });
    this.list = new List(this.ended, ([reason]) => reason, makeReason);
    this.none = h("span", {}, "none yet");
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
        h("div", {}, h("dt", {}, "refused"), this.refused),
      ),
      h("div", { class: "ended" }, h("span", {}, "Sessions ended:"), this.ended, this.none),
    );
  }

  update(l) {
    const rates = l.model.rates(listenerKey(l.name));
    text(this.name, l.name);
    text(this.where, l.removed ? `removed from the configuration; its last sessions live → ${l.pool}` : `${l.addresses.join(", ")} → ${l.pool}`);
    text(this.active, l.held > 0 ? `${count(l.active)}, ${count(l.held)} held` : count(l.active));
    text(this.fresh, rate(rates.sessions));
    text(this.traffic, both(rates));
    const [refused] = refusalKinds(l);
    const now = total(Object.values(l.model.rates(refused.key))) ?? 0;
    text(this.refused, `${count(total(Object.values(refused.counts)) ?? 0)}${now > 0 ? `, ${rate(now)}/s` : ""}`);
    attribute(this.refused, "class", now > 0 ? "odd" : null);
    this.spark.update(l.model.listenerTrail("active", l.name));
    this.showEnded(l);
  }

  // showEnded lists reasons in the order of the API, so that none changes its place.
  showEnded(l) {
    const rates = l.model.rates(endedKey(l.name));
    const ended = Object.entries(l.reasons).filter(([, n]) => n > 0);
    this.list.update(ended.map(([reason, n]) => [reason, n, rates[reason] ?? 0]));
    hidden(this.none, ended.length > 0);
  }
}

// Reasons that are the client's or backend's own decision are no news; the others are.
const ordinary = new Set(["client-closed", "backend-closed"]);

function makeReason([reason]) {
  const number = h("b");
  const pace = h("span");
  const node = h("li", {}, reason, " ", number, pace);
  return {
    node,
    update([, n, now]) {
      text(number, count(n));
      text(pace, !ordinary.has(reason) && now > 0 ? `, ${rate(now)}/s` : "");
      attribute(node, "class", ordinary.has(reason) ? null : now > 0 ? "odd rising" : "odd");
      attribute(node, "title", `${plural(n, "session")} since the start`);
    },
  };
}

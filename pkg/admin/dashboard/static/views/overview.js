// The figures of the process as a whole.

import { h, text } from "../lib/dom.js";
import { Slice, Sparkline } from "../lib/chart.js";
import { count, rate, speed } from "../lib/format.js";
import { listenerKey, refusalKinds, state, total } from "../model.js";

export class Overview {
  constructor(root) {
    this.active = new Tile("Sessions");
    this.fresh = new Tile("New per second");
    this.up = new Tile("To backends");
    this.down = new Tile("To clients");
    this.refused = new Tile("Refused per second");
    this.backends = new Tile("Backends usable", false);
    this.slice = new Slice();
    this.backends.node.append(this.slice.node);
    root.append(this.backends.node, this.active.node, this.fresh.node, this.up.node, this.down.node, this.refused.node);
  }

  update(model) {
    const rates = model.listeners.map((l) => model.rates(listenerKey(l.name)));
    const sum = (name) => total(rates.map((one) => one[name]));
    const limit = model.status.limit > 0 ? `of ${count(model.status.limit)} at most` : "";
    this.active.update(count(model.status.sessions), limit, model.totalTrail("active"));
    this.fresh.update(rate(sum("sessions")), "", model.totalTrail("sessions"));
    this.up.update(speed(sum("up")), "", model.totalTrail("bytes_up"));
    this.down.update(speed(sum("down")), "", model.totalTrail("bytes_down"));
    this.showRefused(model);
    let usable = 0;
    let all = 0;
    for (const p of model.pools) {
      usable += p.usable;
      all += p.backends.length;
    }
    this.backends.update(count(usable), `of ${count(all)}${model.status.ready ? ", ready for clients" : `: ${model.status.reason ?? "not ready"}`}`);
    this.slice.update(model.pools.flatMap((p) => p.backends.map((b) => ({ state: state(b).style, load: ["up", "down"].includes(state(b).style) ? 1 : 0 }))));
    this.backends.node.classList.toggle("bad", !model.status.ready);
  }

  // showRefused counts nothing of dry runs: these clients are let in.
  showRefused(model) {
    const kinds = model.listeners.map((l) => refusalKinds(l)[0]);
    const now = total(kinds.flatMap(({ key }) => Object.values(model.rates(key)))) ?? 0;
    const held = total([...model.listeners, ...model.pools].map((one) => one.held ?? 0));
    const ever = total(kinds.flatMap(({ counts }) => Object.values(counts))) ?? 0;
    const remark = held > 0 ? `${count(held)} held now` : `${count(ever)} since start`;
    this.refused.update(rate(now), remark, model.totalTrail("refused"));
    this.refused.node.classList.toggle("some", held > 0 || now > 0);
  }
}

// Tile is one figure with its name and its ten minutes.
class Tile {
  constructor(name, line = true) {
    this.value = h("dd", {}, "–");
    this.remark = h("dd", { class: "remark" });
    this.spark = line ? new Sparkline() : null;
    this.node = h("dl", { class: "tile card" }, h("dt", {}, name), this.value, this.remark, this.spark?.node);
  }

  update(value, remark, trail) {
    text(this.value, value);
    text(this.remark, remark);
    this.spark?.update(trail);
  }
}

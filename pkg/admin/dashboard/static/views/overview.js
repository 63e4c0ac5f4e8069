// The figures of the process as a whole.

import { h, text } from "../lib/dom.js";
import { Slice, Sparkline } from "../lib/chart.js";
import { count, rate, speed } from "../lib/format.js";
import { listenerKey, state } from "../model.js";

export class Overview {
  constructor(root) {
    this.active = new Tile("Sessions");
    this.fresh = new Tile("New per second");
    this.up = new Tile("To backends");
    this.down = new Tile("To clients");
    this.backends = new Tile("Backends usable", false);
    this.slice = new Slice();
    this.backends.node.append(this.slice.node);
    root.append(this.active.node, this.fresh.node, this.up.node, this.down.node, this.backends.node);
  }

  update(model) {
    const total = { sessions: null, up: null, down: null };
    for (const l of model.listeners) {
      const one = model.rates(listenerKey(l.name));
      for (const name in total) if (one[name] !== null) total[name] += one[name];
    }
    const limit = model.status.limit > 0 ? `of ${count(model.status.limit)} at most` : "";
    this.active.update(count(model.status.sessions), limit, model.totalTrail("active"));
    this.fresh.update(rate(total.sessions), "", model.totalTrail("sessions"));
    this.up.update(speed(total.up), "", model.totalTrail("bytes_up"));
    this.down.update(speed(total.down), "", model.totalTrail("bytes_down"));
    let usable = 0;
    let all = 0;
    for (const p of model.pools) {
      usable += p.usable;
      all += p.backends.length;
    }
    this.backends.update(count(usable), `of ${count(all)}${model.status.ready ? ", ready for clients" : `: ${model.status.reason ?? "not ready"}`}`);
    this.slice.update(model.pools.flatMap((p) => p.backends.map((b) => ({ state: state(b).style, load: state(b).style === "up" ? 1 : 0 }))));
    this.backends.node.classList.toggle("bad", !model.status.ready);
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

// Two small pictures: the line of ten minutes, and the slice of lime that shows a
// pool. Both are decoration of figures that stand beside them as text, so screen
// readers skip them.

import { s, attribute } from "./dom.js";

const height = 24;

// Sparkline draws up to points values, the newest at the right edge; null is a gap.
export class Sparkline {
  constructor(points = 120) {
    this.points = points;
    this.area = s("path", { class: "area" });
    this.line = s("path", { class: "line" });
    this.node = s(
      "svg",
      { class: "spark", viewBox: `0 0 ${points - 1} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
      this.area,
      this.line,
    );
  }

  update(values = []) {
    const shown = values.slice(-this.points);
    const top = Math.max(1e-9, ...shown.map((v) => v ?? 0));
    const left = this.points - shown.length;
    const y = (v) => (height - 1 - (v / top) * (height - 3)).toFixed(1);
    let line = "";
    let area = "";
    let start = -1; // of the run of values under way
    const finish = (end) => {
      if (start >= 0) area += `L${left + end - 1} ${height}L${left + start} ${height}Z`;
      start = -1;
    };
    shown.forEach((v, i) => {
      if (v === null || v === undefined) return finish(i);
      const step = `${start < 0 ? "M" : "L"}${left + i} ${y(v)}`;
      if (start < 0) start = i;
      line += step;
      area += step;
    });
    finish(shown.length);
    attribute(this.line, "d", line);
    attribute(this.area, "d", area);
  }
}

const inner = 3;
const outer = 16.5;
const most = 24; // wedges that can still be told apart
const summed = 12; // wedges in which more than that are summed up

// Slice is a lime cut open: a wedge for each backend in the colour of its state, filled
// from the middle as far as its load says: that of its sessions, or all of it where it is
// down, so that it cannot be overlooked. Above 24 backends the wedges are shared out
// to the states by how frequent they are; a state that is there at all has one.
export class Slice {
  constructor() {
    this.wedges = s("g");
    this.node = s("svg", { class: "slice", viewBox: "-22 -22 44 44", "aria-hidden": "true", focusable: "false" }, s("circle", { class: "rind", r: 20 }), this.wedges);
  }

  // update draws backends: [{state, load}], load from 0 to 1.
  update(backends) {
    const parts = backends.length <= most ? backends : byState(backends);
    const drawn = parts.map((p) => `${p.state} ${p.load.toFixed(2)}`).join();
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    let angle = -Math.PI / 2;
    const nodes = [];
    for (const part of parts) {
      const end = angle + (2 * Math.PI) / parts.length;
      nodes.push(s("path", { class: `wedge pale ${part.state}`, d: wedge(angle, end, outer) }));
      if (part.load > 0) {
        nodes.push(s("path", { class: `wedge ${part.state}`, d: wedge(angle, end, inner + (outer - inner) * (0.3 + 0.7 * part.load)) }));
      }
      angle = end;
    }
    this.wedges.replaceChildren(...nodes);
  }
}

function byState(backends) {
  const counts = new Map();
  for (const b of backends) counts.set(b.state, (counts.get(b.state) ?? 0) + 1);
  const parts = [];
  for (const [state, n] of [...counts].sort((a, b) => a[1] - b[1])) {
    const share = Math.max(1, Math.round((summed * n) / backends.length));
    for (let i = 0; i < share; i++) parts.push({ state, load: state === "up" || state === "down" ? 1 : 0 });
  }
  return parts.slice(0, summed);
}

// wedge is a sector whose sides stay a constant distance from its neighbours', as the
// skins between a fruit's segments do.
function wedge(from, to, radius) {
  const gap = to - from > 6 ? 0 : 1.3;
  const at = (r, angle) => `${(r * Math.cos(angle)).toFixed(2)} ${(r * Math.sin(angle)).toFixed(2)}`;
  if (gap === 0) {
    return `M${at(radius, 0)}A${radius} ${radius} 0 1 1 ${at(radius, Math.PI)}A${radius} ${radius} 0 1 1 ${at(radius, 0)}Z`;
  }
  const middle = (from + to) / 2;
  const half = (to - from) / 2;
  const bend = Math.max(0.02, half - gap / radius);
  const tip = Math.min(radius * 0.6, Math.max(1.5, gap / Math.sin(Math.min(half, Math.PI / 2))));
  const large = bend * 2 > Math.PI ? 1 : 0;
  return `M${at(tip, middle)}L${at(radius, middle - bend)}A${radius} ${radius} 0 ${large} 1 ${at(radius, middle + bend)}Z`;
}

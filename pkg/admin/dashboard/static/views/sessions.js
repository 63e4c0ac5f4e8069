// The table of live sessions: searched, sorted and cut into pages by the API, since
// there may be a hundred thousand of them.

import * as api from "../api.js";
import { h, text, attribute, hidden, List } from "../lib/dom.js";
import { bytes, count, duration, milliseconds, none, plural } from "../lib/format.js";
import { clientOf } from "../actions.js";

const page = 50;

const columns = [
  { name: "Client", sort: "client" },
  { name: "Listener" },
  { name: "Backend", sort: "backend" },
  { name: "Age", sort: "age", number: true },
  { name: "Idle", sort: "idle", number: true },
  { name: "Connect", number: true },
  { name: "Up", sort: "bytes_up", number: true },
  { name: "Down", sort: "bytes_down", number: true },
];

export class Sessions {
  constructor(root, counted, filter, hold, actions) {
    Object.assign(this, { counted, filter, hold, actions, sort: "-age", offset: 0, asked: 0 });
    this.rows = h("tbody", { role: "rowgroup" });
    this.list = new List(this.rows, (s) => s.id, () => new Row(this));
    this.heads = columns.map((c) => this.heading(c));
    this.empty = h("p", { class: "empty", hidden: true });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.before = h("button", { type: "button", onclick: () => this.turn(-page) }, "Previous");
    this.after = h("button", { type: "button", onclick: () => this.turn(page) }, "Next");
    this.where = h("span", { class: "soft" });
    this.pager = h("nav", { class: "pager", "aria-label": "Pages of sessions" }, this.before, this.where, this.after);
    const acts = h("th", { scope: "col", role: "columnheader", class: "acts" }, h("span", { class: "unseen" }, "Actions"));
    this.table = h(
      "table",
      { class: "sessions", role: "table", "aria-labelledby": "sessions-title" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...this.heads.map((x) => x.cell), acts)),
      this.rows,
    );
    root.append(this.problem, this.table, this.empty, this.pager);
    filter.addEventListener("input", () => this.search());
    hold.addEventListener("click", () => this.toggleHold());
  }

  heading(column) {
    const cell = h("th", { scope: "col", role: "columnheader", class: column.number ? "num" : null });
    if (column.sort) cell.append(h("button", { type: "button", class: "sort", onclick: () => this.order(column) }, column.name));
    else cell.append(column.name);
    return { column, cell };
  }

  // order sorts by a column; the second time the other way round. Numbers start with
  // the largest.
  order({ sort, number }) {
    const first = number ? `-${sort}` : sort;
    const second = number ? sort : `-${sort}`;
    this.sort = this.sort === first ? second : first;
    this.offset = 0;
    this.load();
  }

  turn(by) {
    this.offset = Math.max(0, this.offset + by);
    this.load();
  }

  search() {
    this.offset = 0;
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.load(), 150);
  }

  find(words) {
    this.filter.value = words;
    this.offset = 0;
    return this.load();
  }

  toggleHold() {
    const held = this.hold.getAttribute("aria-pressed") !== "true";
    attribute(this.hold, "aria-pressed", String(held));
    if (!held) this.load();
  }

  // refresh is the page's regular look; a person who reads the table can hold it still.
  refresh() {
    if (this.hold.getAttribute("aria-pressed") === "true") return undefined;
    return this.load();
  }

  async load() {
    const turn = ++this.asked; // an answer that was overtaken is dropped
    const q = this.filter.value.trim();
    try {
      const found = await api.sessions({ q, sort: this.sort, limit: page, offset: this.offset });
      if (turn !== this.asked) return;
      if (found.sessions.length === 0 && this.offset > 0) {
        this.offset = Math.max(0, Math.floor((found.total - 1) / page) * page);
        return void this.load();
      }
      hidden(this.problem, true);
      this.show(found, q);
    } catch (problem) {
      if (turn !== this.asked || problem.lost || problem.unauthorized) return; // the page tells that
      text(this.problem, problem.message);
      hidden(this.problem, false);
    }
  }

  show({ total, sessions }, q) {
    this.list.update(sessions);
    for (const { column, cell } of this.heads) {
      const sorted = this.sort === column.sort ? "ascending" : this.sort === `-${column.sort}` ? "descending" : null;
      attribute(cell, "aria-sort", sorted);
    }
    text(this.counted, q === "" ? `${plural(total, "session")} live` : `${plural(total, "session")} found`);
    hidden(this.table, total === 0);
    hidden(this.empty, total > 0);
    text(this.empty, q === "" ? "No client is connected. The next one will show up here." : `No live session has “${q}” in it.`);
    hidden(this.pager, total <= page);
    text(this.where, `${count(this.offset + 1)} to ${count(this.offset + sessions.length)} of ${count(total)}`);
    this.before.disabled = this.offset === 0;
    this.after.disabled = this.offset + page >= total;
  }
}

class Row {
  constructor({ actions }) {
    const cell = (label, classes = "num") => h("td", { class: classes, role: "cell", "data-label": label });
    this.client = h("th", { scope: "row", role: "rowheader" });
    this.listener = cell("Listener", "");
    this.backend = cell("Backend", "");
    this.age = cell("Age");
    this.idle = cell("Idle");
    this.connect = cell("Connect");
    this.up = cell("Up");
    this.down = cell("Down");
    this.kill = h("button", { type: "button", class: "small quiet", onclick: () => actions.kill(this.now) }, "Kill");
    this.node = h("tr", { role: "row" }, this.client, this.listener, this.backend, this.age, this.idle, this.connect, this.up, this.down, h("td", { class: "acts", role: "cell" }, this.kill));
  }

  update(session) {
    this.now = session;
    attribute(this.node, "data-session", session.id);
    text(this.client, clientOf(session));
    text(this.listener, session.listener);
    text(this.backend, session.state === "dialing" ? `${session.backend || none} (connecting)` : session.backend);
    attribute(this.backend, "title", session.backend_address || null);
    text(this.age, duration(session.age));
    text(this.idle, duration(session.idle));
    text(this.connect, session.connect_time ? milliseconds(session.connect_time * 1000) : none);
    text(this.up, bytes(session.bytes_up));
    text(this.down, bytes(session.bytes_down));
    attribute(this.kill, "aria-label", `Kill the session of ${clientOf(session)}`);
  }
}

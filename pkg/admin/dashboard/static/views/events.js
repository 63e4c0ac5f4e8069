// What has happened, newest first. It is a live region, so that screen readers tell of
// a backend that goes down; what had happened before the page opened is not read out, nor
// are counts that grow.

import { h, hidden, text } from "../lib/dom.js";
import { clock, count } from "../lib/format.js";

const kept = 200; // in the page; the API keeps more
const episode = 5 * 60 * 1000; // ms of silence after which refusals are news again

export class Events {
  constructor(list, empty) {
    Object.assign(this, { list, empty, last: 0, refusals: new Map() });
  }

  // add shows an event. Refusals that go on are one line, at the time when they began.
  add(event) {
    this.last = event.id;
    if (event.kind === "refused" && this.goesOn(event)) return;
    const node = line(event);
    if (event.kind === "refused") this.refusals.set(refusalOf(event), { node, last: event, n: event.refused.count });
    this.list.prepend(node);
    hidden(this.empty, true);
    while (this.list.childElementCount > kept) this.list.lastElementChild.remove();
  }

  goesOn(event) {
    const known = this.refusals.get(refusalOf(event));
    if (!known?.node.isConnected || Date.parse(event.time) - Date.parse(known.last.time) > episode) return false;
    known.last = event;
    known.n += event.refused.count;
    text(known.node.querySelector(".reason"), refused(event, known.n));
    return true;
  }

  // live is called when the events of the past have been shown.
  live() {
    if (this.list.getAttribute("aria-live") !== "polite") this.list.setAttribute("aria-live", "polite");
  }

  // restart begins again: it forgets what an earlier process told.
  restart() {
    this.last = 0;
    this.refusals.clear();
    this.list.setAttribute("aria-live", "off");
    this.list.replaceChildren();
    hidden(this.empty, false);
  }
}

const refusalOf = (e) => `${e.listener} ${e.new} ${Boolean(e.refused.dry_run)}`;

// refused are n refused clients in words, and until when.
function refused({ time, refused: { client, count: latest, rule } }, n) {
  const who = n === 1 ? `client ${client}` : `${count(n)} clients, ${latest === n ? "one of them" : `up to ${clock(time)}, the latest`} ${client}`;
  return rule ? `${who}: ${rule}` : who;
}

// The colour of an event by its kind and by what is new; others are no news to act on.
const styles = {
  health: { up: "up", down: "down", unchecked: "warn" },
  mode: { ready: "up", drain: "drain", maintenance: "maint" },
  breaker: { closed: "up", open: "down", "half-open": "warn" },
  reload: { applied: "up", refused: "down" },
  listener: { shut: "down", open: "up" },
};

function styleOf(e) {
  switch (e.kind) {
    case "refused":
      return e.refused.dry_run ? "plain" : "warn";
    case "split":
      return e.new ? "down" : "up";
    case "excluded":
      return e.reason ? "warn" : "up";
  }
  return styles[e.kind]?.[e.new] ?? "plain";
}

function line(e) {
  const subject = e.backend || e.listener || e.pool || "limeload";
  const reason = e.kind === "refused" ? refused(e, e.refused.count) : e.reason;
  return h(
    "li",
    { class: "event", "data-kind": e.kind, "data-id": e.id },
    h("time", { datetime: e.time, title: new Date(e.time).toLocaleString() }, clock(e.time)),
    h("span", { class: `dot ${styleOf(e)}`, "aria-hidden": "true" }),
    h("p", {}, h("b", {}, subject), " ", what(e), e.pool && e.backend ? h("span", { class: "soft" }, ` in ${e.pool}`) : null, reason ? h("span", { class: "reason" }, reason) : null),
  );
}

const change = (e) => (e.old && e.new ? `${e.old} → ${e.new}` : (e.new ?? ""));

// what is the change in words.
function what(e) {
  const now = e.new ?? "";
  switch (e.kind) {
    case "health":
      return `is ${now}`;
    case "mode":
      return now === "ready" ? "takes sessions again" : now === "drain" ? "is being drained" : "is in maintenance";
    case "breaker":
      return `breaker ${now}`;
    case "role":
      return now ? `is ${now} now` : "has lost its role";
    case "excluded":
      return e.reason ? "is left out" : "is not left out any more";
    case "refused":
      return `${e.refused.dry_run ? "would refuse" : "refuses"} clients: ${now}`;
    case "split":
      return now ? "has several primaries" : "has one primary again";
    case "reload":
      return e.listener ? `access list ${change(e)}` : `configuration ${now}`;
    case "listener":
      return now === "open" ? "listens" : `is ${now}`;
    case "lifetime":
      return now === "started" ? "has started" : `is ${now}`;
    case "override":
      return e.backend ? `${change(e)} by hand` : "is as the file says again";
  }
  return `${e.kind} ${change(e)}`;
}

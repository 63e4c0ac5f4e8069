// What has happened, newest first. It is a live region, so that screen readers tell of
// a backend that goes down; what had happened before the page opened is not read out.

import { h, hidden } from "../lib/dom.js";
import { clock } from "../lib/format.js";

const kept = 200; // in the page; the API keeps more

export class Events {
  constructor(list, empty) {
    Object.assign(this, { list, empty, last: 0 });
  }

  // add shows an event.
  add(event) {
    this.last = event.id;
    this.list.prepend(line(event));
    hidden(this.empty, true);
    while (this.list.childElementCount > kept) this.list.lastElementChild.remove();
  }

  // live is called when the events of the past have been shown.
  live() {
    if (this.list.getAttribute("aria-live") !== "polite") this.list.setAttribute("aria-live", "polite");
  }

  // restart begins again: it forgets what an earlier process told.
  restart() {
    this.last = 0;
    this.list.setAttribute("aria-live", "off");
    this.list.replaceChildren();
    hidden(this.empty, false);
  }
}

// The colour of an event by its kind and by what is new; others are no news to act on.
const styles = {
  health: { up: "up", down: "down", unchecked: "warn" },
  mode: { ready: "up", drain: "drain", maintenance: "maint" },
  breaker: { closed: "up", open: "down", "half-open": "warn" },
  reload: { applied: "up", refused: "down" },
  listener: { shut: "down", open: "up" },
};

function line(e) {
  const subject = e.backend || e.listener || e.pool || "limeload";
  const style = e.kind === "refused" || e.kind === "split" ? "warn" : (styles[e.kind]?.[e.new] ?? "plain");
  return h(
    "li",
    { class: "event", "data-kind": e.kind, "data-id": e.id },
    h("time", { datetime: e.time, title: new Date(e.time).toLocaleString() }, clock(e.time)),
    h("span", { class: `dot ${style}`, "aria-hidden": "true" }),
    h("p", {}, h("b", {}, subject), " ", what(e), e.pool && e.backend ? h("span", { class: "soft" }, ` in ${e.pool}`) : null, e.reason ? h("span", { class: "reason" }, e.reason) : null),
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
    case "refused":
      return "refused clients";
    case "split":
      return now || "several primaries";
    case "reload":
      return e.listener ? [`access list`, change(e)].join(" ") : `configuration ${now}`;
    case "listener":
      return now === "open" ? "listens" : `is ${now}`;
    case "lifetime":
      return now === "started" ? "has started" : `is ${now}`;
    case "override":
      return e.backend ? `${change(e)} by hand` : "is as the file says again";
  }
  return `${e.kind} ${change(e)}`;
}

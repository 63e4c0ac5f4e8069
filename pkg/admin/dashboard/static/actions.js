// What an operator changes. Each asks first, says what will happen in words, tells an
// error where it was asked, and afterwards what was done.

import * as api from "./api.js";
import { h } from "./lib/dom.js";
import { confirm } from "./lib/dialog.js";
import { plural } from "./lib/format.js";

// Actions need the model, for the words, and done(words), which tells the person and
// looks again.
export class Actions {
  constructor(model, done) {
    Object.assign(this, { model, done });
  }

  async run(question, words) {
    if (await confirm(question)) this.done(typeof words === "function" ? words() : words);
  }

  drain(pool, b) {
    return this.run(
      {
        title: `Drain ${b.name}?`,
        words: [`No new sessions; ${live(b)} may go on until they end. Probes go on.`, ...this.lastOne(pool, b)],
        button: "Drain",
        act: () => api.change(pool, b.name, { mode: "drain" }),
      },
      `${b.name} is being drained.`,
    );
  }

  maintenance(pool, b) {
    return this.run(
      {
        title: `Put ${b.name} in maintenance?`,
        words: [`No new sessions and no probes; ${live(b)} may go on until they end.`, ...this.lastOne(pool, b)],
        button: "Maintenance",
        act: () => api.change(pool, b.name, { mode: "maintenance" }),
      },
      `${b.name} is in maintenance.`,
    );
  }

  ready(pool, b) {
    return this.run(
      {
        title: `Make ${b.name} ready?`,
        words: [b.held ? "It has recovered and waits for a person: it gets new sessions at once." : b.mode === "maintenance" ? "It gets new sessions after its first good probe." : "It gets new sessions as soon as its probes say that it is up."],
        button: "Ready",
        act: () => api.change(pool, b.name, { mode: "ready" }),
      },
      `${b.name} is ready.`,
    );
  }

  weight(pool, b) {
    const input = h("input", { type: "number", name: "weight", min: 0, max: 256, step: 1, value: b.weight, required: true });
    return this.run(
      {
        title: `Weight of ${b.name}`,
        words: ["Its share of new sessions relative to the others', 0 to 256. With 0 it gets none."],
        button: "Set weight",
        fields: [h("label", {}, "Weight ", input)],
        act: ({ weight }) => api.change(pool, b.name, { weight: Number(weight) }),
      },
      () => `${b.name} has weight ${input.value}.`,
    );
  }

  killAll(pool, b) {
    let killed = 0;
    return this.run(
      {
        title: `Kill the sessions of ${b.name}?`,
        words: [`${b.active === 0 ? "It has none now; those that come until you confirm" : capital(live(b))} will be cut at once: clients see a reset connection. ${b.mode === "removed" ? "It gets no new ones" : `New clients may still come to it${b.mode === "ready" ? "; drain it first if they should not" : ""}`}.`],
        button: "Kill sessions",
        danger: true,
        act: async () => ({ killed } = await api.killAll(pool, b.name)),
      },
      () => `${plural(killed, "session")} of ${b.name} cut.`,
    );
  }

  kill(session) {
    return this.run(
      {
        title: "Kill this session?",
        words: [`The connection from ${clientOf(session)} to ${session.backend || "its backend"} will be cut at once: the client sees a reset.`],
        button: "Kill session",
        danger: true,
        act: () => api.kill(session.id),
      },
      `The session from ${clientOf(session)} was cut.`,
    );
  }

  remove(pool, b) {
    const force = h("input", { type: "checkbox", name: "force" });
    return this.run(
      {
        title: `Remove ${b.name}?`,
        words: [`It leaves the pool ${pool} and gets no new sessions; ${live(b)} may go on for drain_timeout. Reloads do not bring it back, resetting the changes made by hand does.`, ...this.lastOne(pool, b)],
        button: "Remove",
        danger: true,
        fields: [h("label", { class: "check" }, force, " Cut its sessions at once")],
        act: ({ force }) => api.remove(pool, b.name, force === "on"),
      },
      `${b.name} was removed.`,
    );
  }

  add(pool) {
    const field = (label, properties) => h("label", {}, label, " ", h("input", { autocomplete: "off", spellcheck: "false", ...properties }));
    return this.run(
      {
        title: `Add a backend to ${pool}`,
        words: ["It gets no sessions before its first good probe. Reloads do not remove it."],
        button: "Add backend",
        fields: [
          field("Address", { name: "address", required: true, placeholder: "10.0.0.13:5432" }),
          field("Name (by default the address)", { name: "name" }),
          field("Weight", { name: "weight", type: "number", min: 0, max: 256, value: 1, required: true }),
        ],
        act: ({ address, name, weight }) => api.add(pool, { address: address.trim(), ...(name.trim() && { name: name.trim() }), weight: Number(weight) }),
      },
      `A backend was added to ${pool}.`,
    );
  }

  // reload shows what would change, or every problem, before it does anything.
  async reload() {
    let changes;
    try {
      changes = await api.reload(true);
    } catch (problem) {
      return confirm({
        title: "The configuration has problems",
        words: [h("p", { class: "problem", role: "alert" }, problem.message), "Nothing has changed. Mend the file and look again."],
        button: "Look again",
        act: () => setTimeout(() => this.reload()),
      });
    }
    return this.run(
      {
        title: "Reload the configuration?",
        words: changes.length === 0 ? ["The file says what runs already: nothing will change."] : [`${plural(changes.length, "difference")} between the file and what runs:`, changeList(changes)],
        button: "Reload",
        act: async () => (changes = await api.reload(false)),
      },
      () => (changes.length === 0 ? "Reloaded: nothing differed." : `Reloaded: ${plural(changes.length, "change")} applied.`),
    );
  }

  resetOverrides() {
    return this.run(
      {
        title: "Undo what was changed by hand?",
        words: ["Modes, weights and backends go back to what the file says. Backends that were added leave; their sessions may go on for drain_timeout."],
        button: "Back to the file",
        act: api.resetOverrides,
      },
      "Everything is as the file says.",
    );
  }

  // lastOne warns where nothing would be left for new clients.
  lastOne(pool, b) {
    const others = (this.model.pool(pool)?.backends ?? []).filter((o) => o.usable && o.name !== b.name);
    if (!b.usable || others.length > 0) return [];
    return [h("p", { class: "problem" }, `It is the last usable backend of ${pool}: new clients will be refused.`)];
  }
}

export function clientOf(session) {
  return session.client_port ? `${session.client.includes(":") ? `[${session.client}]` : session.client}:${session.client_port}` : session.client;
}

const live = (b) => (b.active === 0 ? "it has none now, and any" : b.active === 1 ? "the 1 session that it has" : `the ${plural(b.active, "session")} that it has`);
const capital = (words) => words[0].toUpperCase() + words.slice(1);

// changeTag tells why a change will not be seen at once.
function changeTag(c) {
  const words = c.restart ? "needs a restart" : c.overridden ? "changed by hand meanwhile" : null;
  return words && h("span", { class: "tag" }, words);
}

function changeList(changes) {
  const rows = changes.slice(0, 200).map((c) =>
    h("tr", {}, h("th", { scope: "row" }, c.key, changeTag(c)), h("td", {}, c.old || "–"), h("td", {}, c.new || "–")),
  );
  const head = h("thead", {}, h("tr", {}, ...["Key", "Runs", "File"].map((w) => h("th", { scope: "col" }, w))));
  return h("div", { class: "scroll changes", tabindex: 0, role: "region", "aria-label": "Differences" }, h("table", {}, head, h("tbody", {}, ...rows)));
}

// The page: its parts, and when it asks the API for what.
//
//   events   a stream that stays open; each event also brings the next look forward
//   look     status, listeners, pools, sessions: every 2 s, less often where the
//            answers are large, never while the tab is hidden
//   history  every 5 s: of the listeners, and of the pools that are open
//
// When limeload does not answer the page says so, keeps what it showed, and tries again
// until it does. When it asks for a token, so does the page.

import * as api from "./api.js";
import { Actions } from "./actions.js";
import { attribute, hidden, text } from "./lib/dom.js";
import { askToken } from "./lib/dialog.js";
import { duration, plural } from "./lib/format.js";
import { Model } from "./model.js";
import { Details } from "./views/details.js";
import { Events } from "./views/events.js";
import { Listeners } from "./views/listeners.js";
import { Overview } from "./views/overview.js";
import { Pools } from "./views/pools.js";
import { Refusals } from "./views/refusals.js";
import { Sessions } from "./views/sessions.js";
import { Why } from "./views/why.js";

const lookEvery = 2000; // ms
const historyEvery = 5000;
const retryFirst = 1000;
const retryMost = 5000;
const wholeHistory = 150; // backends up to which all histories come in one answer

const $ = (id) => document.getElementById(id);

const model = new Model();
const actions = new Actions(model, done);
const sessions = new Sessions($("sessions-list"), $("sessions-count"), $("sessions-filter"), $("sessions-hold"), actions);
const details = new Details(model, actions, (backend) => {
  sessions.find(backend);
  $("sessions").scrollIntoView();
  $("sessions-filter").focus({ preventScroll: true });
});
const pools = new Pools($("pools-list"), $("pools-count"), $("pools-filter"), $("pools-show"), {
  actions,
  details: (pool, backend) => details.toggle(pool, backend),
  changed() {
    if (!model.status) return;
    pools.update(model);
    wake("history");
  },
});
const overview = new Overview($("overview"));
const listeners = new Listeners($("listeners-list"));
const events = new Events($("events-list"), $("events-empty"));
const why = new Why($("why-form"), $("why-listener"), $("why-client"), $("why-answer"));
const refusals = new Refusals($("refusals-list"), $("refusals-count"), (listener, client) => {
  why.askAbout(listener, client);
  $("why").scrollIntoView();
  $("why-client").focus({ preventScroll: true });
});

// done tells what an action did and looks at once.
let toastTimer;
function done(words) {
  text($("toast"), words);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => text($("toast"), ""), 6000);
  wake("look");
}

// Loops wait between rounds, and can be woken.
const sleepers = new Map();
function sleep(name, ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    sleepers.set(name, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
function wake(name) {
  sleepers.get(name)?.();
}

async function whileVisible() {
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

// link shows how the page is connected.
function link(state, words) {
  attribute($("link"), "data-state", state);
  text($("link"), words);
  attribute(document.body, "data-link", state);
}

function notice(words) {
  text($("notice"), words);
  hidden($("notice"), words === "");
}

// look is one round of answers. It throws what went wrong.
async function look() {
  const [status, lists, all] = await Promise.all([api.status(), api.listeners(), api.pools(), sessions.refresh()]);
  if (model.update(status, lists, all)) stream.abort(); // another process, with other events
  show();
}

function show() {
  overview.update(model);
  pools.update(model);
  listeners.update(model);
  refusals.update(model);
  why.update(model);
  details.update();
  const { status } = model;
  const uptime = Math.max(0, (Date.now() - Date.parse(status.started)) / 1000);
  text($("about"), `limeload ${status.version} · up for ${duration(uptime)}`);
  document.title = status.ready ? "limeload" : "not ready · limeload";
  overrides(status.overrides);
}

// overrides are shown in the bar of the pools, with the way back.
const undo = document.createElement("button");
undo.type = "button";
undo.className = "quiet undo";
undo.addEventListener("click", () => actions.resetOverrides());
$("pools-count").after(undo);
function overrides(n) {
  hidden(undo, n === 0);
  text(undo, `${plural(n, "change")} by hand. Undo…`);
}

async function looking() {
  for (let retry = retryFirst; ; ) {
    await whileVisible();
    const began = performance.now();
    try {
      await look();
      link("live", "Live");
      notice("");
      retry = retryFirst;
      await sleep("look", Math.max(lookEvery, 10 * (performance.now() - began)));
    } catch (problem) {
      if (problem.unauthorized) await unlock();
      else {
        tell(problem);
        await sleep("look", retry);
        retry = Math.min(retryMost, retry * 1.5);
      }
    }
  }
}

function tell(problem) {
  if (!(problem instanceof api.Problem)) console.error(problem); // a mistake of this page
  link("lost", "Connection lost, retrying");
  notice(`${problem.message}. What you see is how things were; this page tries again until it can look.`);
}

// unlock asks for the token. Loops that are refused meanwhile wait for the same answer.
let unlocking = null;
function unlock() {
  unlocking ??= (async () => {
    link("locked", "Locked");
    notice("");
    const words = api.token.known
      ? "limeload did not accept that token. It is the text in the file that [admin] token_file names."
      : "limeload wants the token from the file that [admin] token_file names. It stays in this tab and is forgotten when you close it.";
    api.token.set(await askToken(words));
    knowsToken();
    unlocking = null;
  })();
  return unlocking;
}

// stream is what ends the stream of events that is open, to begin again.
let stream = new AbortController();

// knowsToken shows what goes with a token, and hides links that cannot carry one.
function knowsToken() {
  hidden($("forget"), !api.token.known);
  hidden($("links"), api.token.known);
}

async function listening() {
  for (;;) {
    await whileVisible();
    try {
      await api.events(events.last, stream.signal, heard, () => events.live());
    } catch (problem) {
      if (problem.unauthorized) await unlock();
      else if (!stream.signal.aborted) await sleep("events", retryFirst);
    }
    if (stream.signal.aborted) {
      stream = new AbortController();
      events.restart();
    }
  }
}

// heard takes an event; a burst of them leads to one look.
let soon;
function heard(event) {
  events.add(event);
  clearTimeout(soon);
  soon = setTimeout(() => wake("look"), 100);
}

async function remembering() {
  for (;;) {
    await whileVisible();
    const began = performance.now();
    try {
      if (model.status) await recall();
    } catch {
      // The next look tells if limeload is gone; a line that stands still says the rest.
    }
    await sleep("history", model.status ? Math.max(historyEvery, 10 * (performance.now() - began)) : 200);
  }
}

async function recall() {
  const size = model.pools.reduce((n, p) => n + p.backends.length, 0);
  const asked = size <= wholeHistory ? [{}] : [{ backends: false }, ...pools.openPools().slice(0, 8).map((pool) => ({ pool }))];
  for (const what of asked) model.learn(await api.history(what));
  show();
}

// The bar.
const themes = ["auto", "light", "dark"];
function theme(next) {
  const root = document.documentElement;
  const now = root.dataset.theme ?? "auto";
  const chosen = next ? themes[(themes.indexOf(now) + 1) % themes.length] : now;
  if (chosen === "auto") {
    delete root.dataset.theme;
    localStorage.removeItem("limeload-theme");
  } else {
    root.dataset.theme = chosen;
    localStorage.setItem("limeload-theme", chosen);
  }
  text($("theme").lastElementChild, chosen);
}
$("theme").addEventListener("click", () => theme(true));
$("reload").addEventListener("click", () => actions.reload());
knowsToken();
$("forget").addEventListener("click", () => {
  api.token.forget();
  location.reload();
});

theme(false);
looking();
listening();
remembering();

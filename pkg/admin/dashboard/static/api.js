// Requests to the API of the address that this page came from. The token, where one is
// needed, travels in a header and is kept in sessionStorage: it is gone with the tab.

const base = "/api/v1/";
const tokenKey = "limeload-token";
const patience = 15000; // ms that one answer may take

// Problem is an answer that is an error (RFC 9457), or none at all: then status is 0.
export class Problem extends Error {
  constructor(status, title, detail, errors = []) {
    super([detail || title, ...errors].join("\n"));
    Object.assign(this, { status });
  }
  get unauthorized() {
    return this.status === 401;
  }
  get lost() {
    return this.status === 0;
  }
}

export const token = {
  get known() {
    return sessionStorage.getItem(tokenKey) !== null;
  },
  set(value) {
    sessionStorage.setItem(tokenKey, value);
  },
  forget() {
    sessionStorage.removeItem(tokenKey);
  },
};

function headers(more) {
  const all = { ...more };
  if (token.known) all.Authorization = `Bearer ${sessionStorage.getItem(tokenKey)}`;
  return all;
}

async function ask(method, path, { body, signal, accept = "application/json", type = "application/json" } = {}) {
  const options = { method, signal, headers: headers({ Accept: accept }), cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = type;
  }
  let answer;
  try {
    answer = await fetch(base + path, options);
  } catch (cause) {
    throw new Problem(0, "limeload does not answer", cause.name === "TimeoutError" ? "limeload takes too long to answer" : "");
  }
  if (!answer.ok) throw await problem(answer);
  return answer;
}

async function problem(answer) {
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // What is no JSON has nothing to say beyond its status.
  }
  const errors = (said.errors ?? []).map((e) => (!e.location || e.message.includes(e.location) ? e.message : `${e.location}: ${e.message}`));
  return new Problem(answer.status, said.title ?? `HTTP status ${answer.status}`, said.detail, errors.filter((e) => e !== said.detail));
}

async function json(method, path, options = {}) {
  const answer = await ask(method, path, { signal: AbortSignal.timeout(patience), ...options });
  if (answer.status === 204) return null;
  try {
    return await answer.json();
  } catch {
    throw new Problem(0, "limeload broke off its answer");
  }
}

const backendPath = (pool, backend) => `pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(backend)}`;
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, v]) => v !== "" && v !== undefined)).toString();

export const status = () => json("GET", "status");
export const listeners = () => json("GET", "listeners");
export const pools = () => json("GET", "pools");
export const history = (what) => json("GET", `history?${query(what)}`);
export const sessions = (filter) => json("GET", `sessions?${query(filter)}`);
export const explain = (listener, client) => json("GET", `explain?${query({ listener, client })}`);

export const change = (pool, backend, settings) => json("PATCH", backendPath(pool, backend), { body: settings });
export const add = (pool, backend) => json("POST", `pools/${encodeURIComponent(pool)}/backends`, { body: backend });
export const remove = (pool, backend, force) => json("DELETE", `${backendPath(pool, backend)}${force ? "?force=true" : ""}`);
export const killAll = (pool, backend) => json("DELETE", `${backendPath(pool, backend)}/sessions`);
export const kill = (id) => json("DELETE", `sessions/${encodeURIComponent(id)}`);
export const reload = (dryRun) => json("POST", dryRun ? "reload?dry_run=true" : "reload");
export const resetOverrides = () => json("DELETE", "overrides");

// events calls heard for each event after the one of that ID, oldest first, and caughtUp
// whenever none is waiting. It ends, with a Problem, when the connection does.
export async function events(after, signal, heard, caughtUp) {
  const answer = await ask("GET", `events?${query({ after })}`, { signal, accept: "text/event-stream" });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length > 0) heard(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
      }
      caughtUp();
    }
  } catch (cause) {
    if (cause instanceof SyntaxError) throw cause;
  }
  throw new Problem(0, "the stream of events ended");
}

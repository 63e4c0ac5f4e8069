// What is known of limeload: its latest answers, the rates between them, and the last
// ten minutes. Views read it and never write.

const window = 10000; // ms over which a rate is taken
const trailStep = 5000; // ms, as the API's history
const trailPoints = 120;

export class Model {
  constructor() {
    this.status = null;
    this.listeners = [];
    this.pools = [];
    this.histories = new Map(); // of backends by pool: {backend: series}
    this.listenerHistory = {};
    this.step = 5; // seconds from one point of a history to the next
    this.samples = new Map(); // counts by name, for rates
    this.trails = new Map(); // active sessions of pools, for those without history
    this.trailAt = 0;
  }

  // update takes a new round of answers. It reports whether the process is another one
  // than before.
  update(status, listeners, pools, now = performance.now()) {
    const restarted = this.status !== null && this.status.started !== status.started;
    if (restarted) this.samples.clear();
    Object.assign(this, { status, listeners, pools: pools.map(summed) });
    const seen = new Set();
    const note = (name, counts) => {
      seen.add(name);
      this.sample(name, counts, now);
    };
    const traffic = ({ sessions, bytes_up, bytes_down }) => ({ sessions, up: bytes_up, down: bytes_down });
    for (const l of listeners) {
      note(listenerKey(l.name), traffic(l));
      note(endedKey(l.name), l.reasons);
      for (const { key, counts } of refusalKinds(l)) note(key, counts);
    }
    for (const p of this.pools) {
      note(poolKey(p.name), traffic(p));
      for (const b of p.backends) note(backendKey(p.name, b.name), traffic(b));
    }
    for (const name of this.samples.keys()) if (!seen.has(name)) this.samples.delete(name);
    this.extendTrails(now);
    return restarted;
  }

  // sample keeps counts, of which there may be new ones each time.
  sample(name, counts, now) {
    let kept = this.samples.get(name);
    const last = kept?.at(-1).counts;
    const fell = last && Object.entries(last).some(([what, n]) => (counts[what] ?? 0) < n);
    if (!kept || fell) this.samples.set(name, (kept = [])); // new, or counting from zero again
    kept.push({ at: now, counts });
    while (kept.length > 2 && now - kept[1].at >= window) kept.shift();
  }

  // rates are those of the counts of a name, per second; none until there are two samples.
  rates(name) {
    const kept = this.samples.get(name);
    if (!kept || kept.length < 2) return {};
    const [first, last] = [kept[0], kept.at(-1)];
    const seconds = (last.at - first.at) / 1000;
    return Object.fromEntries(Object.entries(last.counts).map(([what, n]) => [what, (n - (first.counts[what] ?? 0)) / seconds]));
  }

  extendTrails(now) {
    if (now - this.trailAt < trailStep) return;
    this.trailAt = now;
    for (const p of this.pools) {
      const trail = this.trails.get(p.name) ?? [];
      trail.push(p.active);
      this.trails.set(p.name, trail.slice(-trailPoints));
    }
    for (const name of this.trails.keys()) if (!this.pool(name)) this.trails.delete(name);
  }

  // learn takes an answer of the API's history.
  learn(history) {
    this.step = history.step;
    Object.assign(this.listenerHistory, history.listeners);
    for (const [pool, { backends }] of Object.entries(history.pools)) this.histories.set(pool, backends);
  }

  pool(name) {
    return this.pools.find((p) => p.name === name);
  }

  backend(pool, name) {
    return this.pool(pool)?.backends.find((b) => b.name === name);
  }

  // series is the history of one backend: {active, sessions, ...}, empty if unknown.
  series(pool, backend) {
    return this.histories.get(pool)?.[backend] ?? {};
  }

  // poolTrail is a pool's active sessions over time: from its history, or else what this
  // page has seen.
  poolTrail(pool) {
    const known = this.histories.get(pool);
    return known ? sum(Object.values(known).map((b) => b.active)) : (this.trails.get(pool) ?? []);
  }

  // listenerTrail is a listener's history of one figure.
  listenerTrail(what, name) {
    return this.listenerHistory[name]?.[what] ?? [];
  }

  // totalTrail is that of all listeners together.
  totalTrail(what) {
    return sum(this.listeners.map((l) => this.listenerTrail(what, l.name)));
  }

  // connect is a backend's latest mean time to connect, in milliseconds, or null.
  connect(pool, backend) {
    return (this.series(pool, backend).connect_ms ?? []).slice(-12).findLast((v) => v !== null) ?? null;
  }
}

export const listenerKey = (name) => `l ${name}`;
export const endedKey = (name) => `e ${name}`; // sessions that ended, by reason
export const poolKey = (name) => `p ${name}`;
export const backendKey = (pool, name) => `b ${pool} ${name}`;

// refusalKinds are what can happen to a client that a listener does not simply let in, with
// how many there were by reason and the name of their rates.
export function refusalKinds(l) {
  return [
    { word: "refused", style: "warn", counts: l.refused, key: `r ${l.name}` },
    { word: "held", style: "drain", counts: l.delayed, key: `h ${l.name}` },
    { word: "dry run", style: "plain", counts: l.refused_dry_run, key: `d ${l.name}` },
  ];
}

// total adds up numbers; null when there are none.
export function total(numbers) {
  const known = numbers.filter((n) => n !== null && n !== undefined);
  return known.length === 0 ? null : known.reduce((sum, n) => sum + n, 0);
}

// summed adds up what the API tells only of backends. Those that are leaving have sessions,
// but no traffic that counts for the pool's.
function summed(pool) {
  const sums = { active: 0, sessions: 0, bytes_up: 0, bytes_down: 0 };
  for (const b of pool.backends) for (const name in sums) sums[name] += b[name];
  for (const b of pool.leaving ?? []) sums.active += b.active;
  return { ...pool, ...sums };
}

// sum adds series point by point, aligned at their newest.
function sum(series) {
  const length = Math.max(0, ...series.map((one) => one.length));
  const total = new Array(length).fill(0);
  for (const one of series) {
    for (let i = 0; i < one.length; i++) total[length - one.length + i] += one[i] ?? 0;
  }
  return total;
}

// state is the one word for what a person, probes and traffic say of a backend, and the
// class of its colour.
export function state(b) {
  if (b.mode === "removed") return { word: "removed", style: "drain" };
  if (b.mode === "maintenance") return { word: "maintenance", style: "maint" };
  if (b.mode === "drain") return { word: b.active > 0 ? "draining" : "drained", style: "drain" };
  if (b.health === "down") return { word: "down", style: "down" };
  if (b.breaker === "open") return { word: "breaker open", style: "down" };
  if (b.weight === 0) return { word: "weight 0", style: "drain" };
  if (b.breaker === "half-open") return { word: "trying", style: "warn" };
  if (b.health === "unchecked") return { word: "unchecked", style: "warn" };
  if (b.max_connections > 0 && b.active >= b.max_connections) return { word: "full", style: "warn" };
  if (b.held) return { word: "waits for you", style: "warn" };
  if (b.excluded) return { word: "left out", style: "warn" };
  return { word: b.backup ? "standby" : "up", style: "up" };
}

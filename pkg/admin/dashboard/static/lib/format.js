// Numbers in words that have the same width from one second to the next.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const none = "–";

// count is a whole number: 12,345.
export function count(n) {
  return grouped.format(n);
}

// plural is a count with its noun: 1 session, 2 sessions.
export function plural(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

// rate is events per second.
export function rate(n) {
  if (n === null || n === undefined) return none;
  if (n > 0 && n < 0.05) return "<0.1";
  return n < 100 ? n.toFixed(1) : grouped.format(n);
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

// bytes has three digits at most before the unit.
export function bytes(n) {
  if (n === null || n === undefined) return none;
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit === 0 || n >= 99.95 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

// speed is bytes per second.
export function speed(n) {
  return n === null || n === undefined ? none : `${bytes(n)}/s`;
}

// both is the speed in the two directions.
export function both({ up, down }) {
  return up === undefined ? none : `${speed(up)}, ${speed(down)}`;
}

// milliseconds of a duration in milliseconds.
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return none;
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  return ms < 1000 ? `${ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

// duration of seconds, in its two largest units.
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return none;
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// since is the time from a timestamp to now, in one unit.
export function since(timestamp, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(timestamp)) / 1000);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// until is the time from now to a timestamp.
export function until(timestamp, now = Date.now()) {
  return duration(Math.ceil((Date.parse(timestamp) - now) / 1000));
}

// clock is the time of day, with the date if that is not today's.
export function clock(timestamp) {
  const time = new Date(timestamp);
  const hours = time.toLocaleTimeString([], { hour12: false });
  return time.toDateString() === new Date().toDateString() ? hours : `${time.toLocaleDateString()} ${hours}`;
}

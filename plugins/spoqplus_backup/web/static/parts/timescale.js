// Where moments lie on a stretch of time, in percent, and where its axis is marked.

export const DAY_MS = 86400000;
const TICKS = { 7: 1, 30: 5, 90: 15 }; // days between two marks

export const place = (at, { from, to }) => ((at - from) / (to - from)) * 100;

/** Marks at midnight in the site's zone: `[{at, left}]`, in milliseconds and percent. */
export function ticks(span, days, midnight) {
  const found = [];
  for (let at = midnight(span.to); at > span.from; at = midnight(at - TICKS[days] * DAY_MS + DAY_MS / 2)) {
    found.unshift({ at, left: place(at, span) });
  }
  return found;
}

/** A stretch cut to what is shown: `{left, width}` in percent, or null when it lies outside. */
export function cut(start, end, span) {
  const from = Math.max(start, span.from);
  const to = Math.min(end, span.to);
  return to < from ? null : { left: place(from, span), width: ((to - from) / (span.to - span.from)) * 100 };
}

/** Stretches of time that overlap or touch, as one: `[{from, to}]`, oldest first. */
export function joined(stretches) {
  const found = [];
  for (const { from, to } of [...stretches].sort((one, other) => one.from - other.from)) {
    const last = found.at(-1);
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else found.push({ from, to });
  }
  return found;
}

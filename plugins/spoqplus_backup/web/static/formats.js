// Numbers, sizes, durations and times, by Intl, in the page's language and the site's time zone.

const DAY = 86400;
const MANY = 10; // from here on a change is told as how many times as much
const STEPS = [["day", DAY], ["hour", 3600], ["minute", 60], ["second", 1]];
const AGO = [["year", 365 * DAY], ["month", 30 * DAY], ["day", DAY], ["hour", 3600], ["minute", 60]];
const SIZES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];
const ALONE_FROM = { short: { day: 3, minute: 10 }, long: { day: 3, minute: 1 } }; // from so many on, the next smaller unit says nothing

/** All formats; `zone` is an IANA name. Sizes are bytes, durations seconds, times ISO-8601. */
export function formats(language, zone) {
  const kept = new Map();
  const once = (key, make) => {
    if (!kept.has(key)) kept.set(key, make());
    return kept.get(key);
  };
  const unit = (name, display, digits) =>
    once(`${name}${display}${digits}`, () =>
      new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay: display, maximumFractionDigits: digits }));
  const date = (key, options) =>
    once(key, () => new Intl.DateTimeFormat(language, { timeZone: zone, hourCycle: "h23", ...options }));
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const number = new Intl.NumberFormat(language);
  const year = (at) => date("year", { year: "numeric" }).format(at);

  function bytes(count) {
    let size = Number(count);
    let step = 0;
    while (Math.abs(size) >= 999.5 && step < SIZES.length - 1) {
      size /= 1000;
      step += 1;
    }
    return unit(SIZES[step], step ? "short" : "long", step && size < 99.5 ? 1 : 0).format(size);
  }

  function duration(seconds, display = "short") {
    const whole = Math.abs(seconds);
    if (whole < 10) return unit("second", display, 1).format(whole);
    const step = whole < (display === "long" ? 60 : 3600) ? 1 : 60;
    let rest = Math.round(whole / step) * step;
    const said = [];
    for (const [name, size] of STEPS) {
      const many = Math.floor(rest / size);
      rest -= many * size;
      if (many) said.push(unit(name, display, 0).format(many));
      if (said.length === 2 || many >= (ALONE_FROM[display][name] ?? Infinity)) break;
      if (said.length && !many) break;
    }
    return said.join(" ") || unit("second", display, 0).format(0);
  }

  function ago(iso, now) {
    const seconds = (Date.parse(iso) - now) / 1000;
    const found = AGO.find(([, size]) => Math.abs(seconds) >= size);
    return found ? relative.format(Math.trunc(seconds / found[1]), found[0]) : relative.format(0, "second");
  }

  return {
    language,
    zone,
    number: (n) => number.format(n),
    bytes,
    rate: (perSecond) => `${bytes(perSecond)}/s`,
    duration,
    ago,
    percent: (ratio) => ratio >= MANY ? `×${number.format(Math.round(ratio + 1))}` :
      once("percent", () =>
        new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" })).format(ratio),
    day: (at) => date("day", { month: "short", day: "numeric" }).format(at),
    weekday: (at) => date("weekday", { month: "short", day: "numeric", weekday: "short" }).format(at),
    time: (at) => date("time", { hour: "2-digit", minute: "2-digit" }).format(at),
    moment: (at, now = Date.now()) =>
      year(at) === year(now)
        ? date("moment", { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(at)
        : date("year-moment", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(at),
    full: (at) => date("full", { dateStyle: "full", timeStyle: "long" }).format(at),
    midnight: (at) => midnight(at, date("parts", { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" })),
  };
}

/** The beginning of the day of a moment, in the zone of `format`; milliseconds. */
function midnight(at, format) {
  const shift = (when) => {
    const part = Object.fromEntries(format.formatToParts(when).map(({ type, value }) => [type, Number(value)]));
    return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(when / 1000) * 1000;
  };
  const local = at + shift(at);
  const start = local - (((local % (DAY * 1000)) + DAY * 1000) % (DAY * 1000));
  return start - shift(start - shift(at)); // the zone's shift at midnight itself
}

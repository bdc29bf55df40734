// How size, time and speed of the backups and the age of what could be lost went.
import { html, useMemo, usePage, useState } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { Chart } from "../parts/chart.js";
import { cadenceName } from "../parts/said.js";
import { Answer, Empty } from "../parts/states.js";

const RANGES = [30, 90, 365];
const INCREMENTAL = "incremental";
const MOST_LINES = 4;

export function Trends({ overview }) {
  const { t, site } = usePage();
  const [days, setDays] = useState(90);
  const answer = useAnswer(`${api(site.site, "history")}?days=${days}`);
  const limit = overview.data?.promises.find(({ name }) => name === "rpo")?.limit ?? null;
  return html`<div class="section-head"><h1>${t("trends.title")}</h1>
    <div class="choice" role="group" aria-label=${t("trends.range")}>${RANGES.map((range) => html`
      <button type="button" aria-pressed=${range === days} onClick=${() => setDays(range)}>${t("timeline.days", { days: range })}</button>`)}</div></div>
    <${Answer} answer=${answer} height="21rem" many="4">${(data) => html`<${Charts} data=${data} days=${days} limit=${limit} />`}<//>`;
}

function Charts({ data, days, limit }) {
  const { t, f } = usePage();
  const lines = useMemo(() => {
    const cadences = [...new Set(data.points.map(({ cadence }) => cadence))].sort(byWeight(data.points)).slice(0, MOST_LINES);
    return (value, wanted = () => true) => cadences.filter(wanted).map((cadence) => ({
      label: cadenceName(t, cadence),
      points: data.points.filter((point) => point.cadence === cadence && point[value] != null).map((point) => ({ at: point.at, value: point[value] })),
    })).filter(({ points }) => points.length);
  }, [data, t]);
  const drawn = useMemo(() => {
    const isFull = (cadence) => cadence !== INCREMENTAL && cadence !== "safety";
    return {
      size: lines("stored_bytes", isFull),
      duration: lines("duration_seconds", isFull),
      throughput: lines("throughput_bytes_per_second", isFull),
      increments: lines("stored_bytes", (cadence) => cadence === INCREMENTAL),
      rpo: [{ label: t("trends.rpo.line"), points: data.rpo.filter(({ seconds }) => seconds != null).map(({ at, seconds }) => ({ at, value: seconds })) }].filter(({ points }) => points.length),
    };
  }, [lines, data, t]);
  if (!data.points.length) return html`<${Empty} title=${t("trends.empty")}>${t("trends.empty.help")}<//>`;
  return html`<div class="charts">
    <${Chart} days=${days} title=${t("trends.size")} summary=${change(t, f, drawn.size, f.bytes, days)} lines=${drawn.size} format=${f.bytes} />
    <${Chart} days=${days} title=${t("trends.duration")} summary=${middle(t, f, drawn.duration, f.duration)} lines=${drawn.duration} format=${f.duration} isTime=${true} />
    <${Chart} days=${days} title=${t("trends.throughput")} summary=${middle(t, f, drawn.throughput, f.rate)} lines=${drawn.throughput} format=${f.rate} />
    <${Chart} days=${days} title=${t("trends.rpo")} summary=${most(t, drawn.rpo, f.duration, limit)} lines=${drawn.rpo} format=${f.duration} isTime=${true} limit=${limit == null ? null : { value: limit, label: t("trends.limit") }} />
    ${drawn.increments.length ? html`<${Chart} days=${days} title=${t("trends.increments")} summary=${middle(t, f, drawn.increments, f.bytes)} lines=${drawn.increments} format=${f.bytes} />` : null}</div>`;
}

/** The cadence with the most sets first. */
function byWeight(points) {
  const many = new Map();
  for (const { cadence } of points) many.set(cadence, (many.get(cadence) ?? 0) + 1);
  return (one, other) => many.get(other) - many.get(one) || one.localeCompare(other);
}

function change(t, f, [line], format, days) {
  if (!line) return t("chart.none");
  const first = line.points[0].value;
  const last = line.points.at(-1).value;
  return t("trends.size.says", { label: line.label, last: format(last), change: first ? f.percent(last / first - 1) || "0" : "–", days: f.number(days) });
}

function middle(t, f, [line], format) {
  if (!line) return t("chart.none");
  const values = line.points.map(({ value }) => value).sort((one, other) => one - other);
  return t("trends.usual", { label: line.label, last: format(line.points.at(-1).value), usual: format(values[Math.floor(values.length / 2)]) });
}

function most(t, [line], format, limit) {
  if (!line) return t("chart.none");
  const worst = line.points.reduce((one, other) => (other.value > one.value ? other : one));
  const isBroken = limit != null && worst.value > limit;
  return t(isBroken ? "trends.rpo.broken" : "trends.rpo.kept", { worst: format(worst.value), limit: limit == null ? "–" : format(limit) });
}

// Lines over time, drawn by uPlot, with what they say in words and as a table.
import { html, useEffect, useMemo, usePage, useRef, useState } from "../ui.js";
import { AsTable } from "./said.js";

const HEIGHT = 220; // pixels, also in the style sheet, so that nothing moves when the library is there
const DAY = 86400; // seconds
const FEWEST_DAYS = 7; // of a line that has just begun
const FONT = '12px system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif';
const TIMES = [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800]; // steps of an axis of durations, in seconds
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];

let library = null;

function loaded() {
  library ??= import("../vendor/uplot.js").then((module) => module.default);
  return library;
}

/**
 * Args: `title`; `summary`, its sentence; `lines`: `[{label, points: [{at, value}]}]`, times ISO-8601; `format` of a value;
 * `days` are shown at most; `isTime`: whether values are seconds; `limit`: `{value, label}`, a number that must not be passed.
 */
export function Chart({ title, summary, lines, days, format, isTime = false, limit = null }) {
  const { t, f, now } = usePage();
  const [read, setRead] = useState(null);
  const data = useMemo(() => aligned(lines), [lines]);
  const rows = useMemo(() => lines.flatMap(({ label, points }) => points.map((point) => ({ label, ...point }))).sort((one, other) => other.at.localeCompare(one.at)), [lines]);
  const columns = html`<tr><th scope="col">${t("chart.when")}</th>${lines.length > 1 ? html`<th scope="col">${t("chart.what")}</th>` : null}<th scope="col" class="number">${title}</th></tr>`;
  return html`<section class="card chart-card"><h2>${title}</h2><p class="sentence">${summary}</p>
    ${rows.length ? html`
      <p class="legend">${lines.map(({ label }, number) => html`<span><i class="line-${number}"></i>${label}${read?.values[number] != null ? html` <strong>${format(read.values[number])}</strong>` : null}</span>`)}
        ${limit ? html`<span><i class="line-limit"></i>${limit.label} ${format(limit.value)}</span>` : null}<span class="read">${read ? f.moment(read.at * 1000, now()) : ""}</span></p>
      <${Canvas} label=${`${title}: ${summary}`} data=${data} lines=${lines} days=${days} format=${format} isTime=${isTime} limit=${limit} onRead=${setRead} />
      <${AsTable} label=${t("chart.as_table")}><table><thead>${columns}</thead><tbody>${rows.map(({ label, at, value }) => html`
        <tr><td>${f.moment(Date.parse(at), now())}</td>${lines.length > 1 ? html`<td>${label}</td>` : null}<td class="number">${format(value)}</td></tr>`)}</tbody></table><//>`
      : html`<p class="muted chart-none">${t("chart.none")}</p>`}</section>`;
}

/** uPlot wants one list of times and a list of values of the same length for each line. */
function aligned(lines) {
  const times = [...new Set(lines.flatMap(({ points }) => points.map(({ at }) => Date.parse(at) / 1000)))].sort((one, other) => one - other);
  const place = new Map(times.map((time, position) => [time, position]));
  const values = lines.map(({ points }) => {
    const line = new Array(times.length).fill(null);
    for (const { at, value } of points) line[place.get(Date.parse(at) / 1000)] = value;
    return line;
  });
  return [times, ...values];
}

function Canvas({ label, data, lines, days, format, isTime, limit, onRead }) {
  const { f, now } = usePage();
  const element = useRef(null);
  useEffect(() => {
    let plot = null;
    let isOver = false;
    const draw = async () => {
      const Plot = await loaded();
      if (isOver) return;
      plot?.destroy();
      plot = new Plot(options(Plot, element.current, { data, lines, days, end: now() / 1000, format, isTime, limit, onRead, f }), data, element.current);
    };
    const resized = new ResizeObserver(([{ contentRect }]) => plot?.setSize({ width: contentRect.width, height: HEIGHT }));
    draw();
    resized.observe(element.current);
    window.addEventListener("themechange", draw);
    return () => {
      isOver = true;
      resized.disconnect();
      window.removeEventListener("themechange", draw);
      plot?.destroy();
    };
  }, [data, format, limit?.value, f]);
  return html`<div class="chart" role="img" aria-label=${label} ref=${element}></div>`;
}

function options(Plot, element, { data, lines, days, end, format, isTime, limit, onRead, f }) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const begin = Math.max(end - days * DAY, Math.min(data[0][0], end - FEWEST_DAYS * DAY));
  return {
    width: element.clientWidth,
    height: HEIGHT,
    tzDate: (seconds) => Plot.tzDate(new Date(seconds * 1000), f.zone),
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: true, range: [begin, end] }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, limit?.value ?? 0) * 1.08 || 1] } },
    axes: [
      { ...axis, space: 70, incrs: [1, 2, 7, 14, 30, 60, 90].map((many) => many * DAY), values: (_, times) => times.map((time) => f.day(time * 1000)) },
      { ...axis, size: 78, ...(isTime ? { incrs: TIMES } : {}), values: (_, values) => values.map((value) => (value === 0 ? "0" : format(value))) },
    ],
    series: [{}, ...lines.map((_, number) => ({
      stroke: colour(`--line-${number}`), width: 2, dash: DASHES[number % DASHES.length], spanGaps: true,
      points: { show: data[0].length < 60, size: 5, fill: colour(`--line-${number}`) },
    }))],
    hooks: {
      draw: limit ? [(plot) => line(plot, limit.value, colour("--bad"))] : [],
      setCursor: [(plot) => onRead(plot.cursor.idx == null ? null : { at: data[0][plot.cursor.idx], values: data.slice(1).map((values) => values[plot.cursor.idx]) })],
    },
  };
}

function line(plot, value, colour) {
  const y = Math.round(plot.valToPos(value, "y", true));
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.setLineDash([8 * devicePixelRatio, 6 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(plot.bbox.left, y);
  ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

// Restore points on a line of time: full backups, increments, safety copies, and where every second can be reached.
import { html, useMemo, usePage, useRef, useState } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { go, to as addresses } from "../routes.js";
import { Icon } from "./icons.js";
import { AsTable, Time, cadenceName } from "./said.js";
import { Answer, Empty } from "./states.js";
import { DAY_MS, cut, joined, place, ticks } from "./timescale.js";

const ZOOMS = [7, 30, 90];
const KINDS = ["full", "incremental", "safety"];
const STEP_MS = 5 * 60 * 1000; // the end of the line moves on so seldom, so that answers can be kept
const NEAR = 22; // pixels from a mark at which it is still meant
const REFRESH = 120;

export function Timeline() {
  const { t, f, site, now } = usePage();
  const [days, setDays] = useState(30);
  const [back, setBack] = useState(0); // how many halves of what is shown before now
  const span = useMemo(() => {
    const end = (Math.floor(now() / STEP_MS) + 1) * STEP_MS - back * days * DAY_MS / 2;
    return { from: end - days * DAY_MS, to: end };
  }, [days, back, Math.floor(now() / STEP_MS)]);
  const iso = (at) => encodeURIComponent(new Date(at).toISOString());
  const answer = useAnswer(`${api(site.site, "timeline")}?from=${iso(span.from)}&to=${iso(span.to)}`, back ? 0 : REFRESH);
  const last = useRef(null);
  if (answer.data) last.current = answer.data;
  const shown = answer.data === undefined && !answer.error && last.current ? { ...answer, data: last.current, isLoading: false } : answer;
  const zoom = (wanted) => {
    setDays(wanted);
    setBack(0);
  };
  return html`<section class="card" aria-labelledby="timeline-title">
    <div class="section-head"><h2 id="timeline-title">${t("timeline.title")}</h2>
      <div class="tools">
        <div class="choice" role="group" aria-label=${t("timeline.zoom")}>
          ${ZOOMS.map((wanted) => html`<button type="button" aria-pressed=${days === wanted} onClick=${() => zoom(wanted)}>${t("timeline.days", { days: wanted })}</button>`)}
        </div>
        <div class="choice" role="group" aria-label=${t("timeline.move")}>
          <button type="button" onClick=${() => setBack(back + 1)} aria-label=${t("timeline.earlier")}><${Icon} name="left" /></button>
          <button type="button" disabled=${back === 0} onClick=${() => setBack(Math.max(0, back - 1))} aria-label=${t("timeline.later")}><${Icon} name="right" /></button>
        </div>
      </div></div>
    <p class="range">${f.moment(span.from, now())} – ${back ? f.moment(span.to, now()) : t("now")} <span class="muted">(${f.zone})</span></p>
    <${Answer} answer=${shown} height="17rem">${(data) => html`<${Line} data=${data} span=${span} days=${days} isNow=${back === 0} />`}<//>
  </section>`;
}

function Line({ data, span, days, isNow }) {
  const { t, f } = usePage();
  const [meant, setMeant] = useState(null);
  const points = useMemo(
    () => data.sets.map((set) => ({ ...set, ms: Date.parse(set.at) })).filter(({ ms }) => ms >= span.from && ms <= span.to).sort((one, other) => one.ms - other.ms),
    [data, span.from, span.to],
  );
  const windows = useMemo(() => joined(data.windows.map(stretch)), [data]);
  const gaps = data.gaps.map((gap) => ({ ...gap, ...stretch(gap) })).filter((gap) => cut(gap.from, gap.to, span));
  if (!points.length && !windows.length && !gaps.length) {
    return html`<div class="timeline-space"><${Empty} title=${t("timeline.empty")}>${t("timeline.empty.help")}<//></div>`;
  }
  const axis = ticks(span, days, f.midnight);
  const kinds = KINDS.filter((kind) => kind === "full" || points.some((point) => point.kind === kind));
  return html`
    <${Sentence} windows=${windows} gaps=${gaps} span=${span} isNow=${isNow} points=${points} />
    <div class="timeline days-${days}">
      <div class="lane-label">${t("timeline.lane.log")}</div>
      <div class="lane log">
        ${axis.map(({ left }) => html`<i class="grid-line" style=${{ left: `${left}%` }}></i>`)}
        ${windows.map(({ from, to }) => bar("window", cut(from, to, span)))}
        ${gaps.map(({ from, to }) => bar("gap", cut(from, to, span)))}
      </div>
      ${kinds.map((kind) => html`
        <div class="lane-label">${t(`timeline.lane.${kind}`)}</div>
        <${Lane} kind=${kind} points=${points} span=${span} axis=${axis} meant=${meant} setMeant=${setMeant} />`)}
      <div class="lane-label"></div>
      <div class="axis" aria-hidden="true">${axis.map(({ at, left }) => html`
        <span class=${left > 94 ? "at-end" : ""} style=${{ left: `${left}%` }}>${f.day(at)}</span>`)}</div>
    </div>
    <p class="meant" aria-hidden="true">${meant ? html`<${Meant} point=${meant} />` : html`<span class="muted">${t("timeline.hint")}</span>`}</p>
    <${Gaps} gaps=${gaps} />
    <${AsTable} label=${t("timeline.as_table")}><${Table} points=${points} windows=${windows} gaps=${gaps} span=${span} /><//>`;
}

const stretch = ({ from, to }) => ({ from: Date.parse(from), to: Date.parse(to) });

const bar = (kind, place) =>
  place && html`<i class=${kind} style=${{ left: `${place.left}%`, width: `${place.width}%` }}></i>`;

/** The line in one sentence, which is also what a screen reader hears of it. */
function Sentence({ windows, gaps, span, isNow, points }) {
  const { t, f, now } = usePage();
  const seen = windows.filter(({ from, to }) => cut(from, to, span));
  if (!seen.length) {
    return html`<p class="sentence">${t(points.length ? "timeline.only_points" : "timeline.no_points")}</p>`;
  }
  const from = f.moment(Math.max(seen[0].from, span.from), now());
  const end = seen.at(-1).to;
  const until = isNow ? t("timeline.until", { moment: f.moment(end, now()), ago: f.ago(new Date(end).toISOString(), now()) }) : f.moment(Math.min(end, span.to), now());
  return html`<p class="sentence">${t("timeline.sentence", { from, until })}
    ${" "}${gaps.length ? html`<strong class="bad-text">${t.count("timeline.but", gaps.length)}</strong>` : t("timeline.no_gap")}</p>`;
}

/** The marks of one kind. One of them is in the order of Tab; the arrow keys lead on from there. */
function Lane({ kind, points, span, axis, meant, setMeant }) {
  const { t, f, site, now } = usePage();
  const lane = useRef(null);
  const mine = points.filter((point) => point.kind === kind);
  const current = mine.find((point) => point.name === meant?.name) ?? mine.at(-1);
  const nearest = (event) => {
    const box = lane.current.getBoundingClientRect();
    const x = event.clientX - box.left;
    const distance = (point) => Math.abs((place(point.ms, span) / 100) * box.width - x);
    const found = mine.reduce((best, point) => (!best || distance(point) < distance(best) ? point : best), null);
    return found && distance(found) <= NEAR ? found : null;
  };
  const press = (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const next = Math.min(mine.length - 1, Math.max(0, mine.indexOf(current) + steps[event.key]));
    setMeant(mine[next]);
    lane.current.querySelectorAll("a")[next].focus();
  };
  const click = (event) => {
    if (event.target.closest("a")) return;
    const found = nearest(event);
    if (found) go(addresses.set(site.site, found.name));
  };
  return html`<div class="lane ${kind}" ref=${lane} onPointerMove=${(event) => setMeant(nearest(event))} onPointerLeave=${() => setMeant(null)} onClick=${click} onKeyDown=${press}>
    ${axis.map(({ left }) => html`<i class="grid-line" style=${{ left: `${left}%` }}></i>`)}
    ${mine.map((point) => html`<a key=${point.name} class="mark ${point === meant ? "is-meant" : ""}" href=${addresses.set(site.site, point.name)}
      tabindex=${point === current ? 0 : -1} style=${{ left: `${place(point.ms, span)}%` }} onFocus=${() => setMeant(point)}
      aria-label=${`${t("timeline.mark", { kind: t(`timeline.kind.${kind}`), moment: f.moment(point.ms, now()) })}`}></a>`)}
  </div>`;
}

function Meant({ point }) {
  const { t } = usePage();
  return html`<span class="dot ${point.kind}"></span><strong>${cadenceName(t, point.name.split("/")[0])}</strong>
    <${Time} at=${point.at} /><code>${point.name}</code>`;
}

function Gaps({ gaps }) {
  const { t, f, now } = usePage();
  if (!gaps.length) return null;
  return html`<div class="gaps"><h3><${Icon} name="warning" />${t("timeline.gaps")}</h3><ul>${gaps.map((gap) => html`
    <li><strong>${f.moment(gap.from, now())} – ${f.moment(gap.to, now())}</strong> (${f.duration((gap.to - gap.from) / 1000)})${" "}
      <span class="muted">${t.word("gap", gap.reason)}</span></li>`)}</ul></div>`;
}

function Table({ points, windows, gaps, span }) {
  const { t, f, site, now } = usePage();
  const range = ({ from, to }) => `${f.moment(from, now())} – ${f.moment(to, now())}`;
  const rows = [
    ...points.map((point) => ({ at: point.ms, kind: t(`timeline.kind.${point.kind}`), when: f.moment(point.ms, now()), link: point.name })),
    ...windows.filter(({ from, to }) => cut(from, to, span)).map((window) => ({ at: window.to, kind: t("timeline.kind.window"), when: range(window) })),
    ...gaps.map((gap) => ({ at: gap.to, kind: t("timeline.kind.gap"), when: range(gap), note: t.word("gap", gap.reason) })),
  ].sort((one, other) => other.at - one.at);
  return html`<table><thead><tr><th scope="col">${t("timeline.column.when")}</th><th scope="col">${t("timeline.column.kind")}</th><th scope="col">${t("timeline.column.set")}</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr><td>${row.when}</td><td>${row.kind}</td>
      <td>${row.link ? html`<a href=${addresses.set(site.site, row.link)}>${row.link}</a>` : row.note}</td></tr>`)}</tbody></table>`;
}

// The table of sets: search, kinds, order, pages. What is chosen stands in the address.
import { html, useEffect, usePage, useRef, useState } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { go, to } from "../routes.js";
import { Icon } from "../parts/icons.js";
import { Status, Time, cadenceName } from "../parts/said.js";
import { StageBar, StageLegend } from "../parts/stages.js";
import { Answer, Empty } from "../parts/states.js";

const LIMITS = [25, 50, 100];
const LIMIT = 25;
const PAUSE_MS = 250; // after the last letter of a search
const REFRESH = 60;
const COLUMNS = [
  { name: "set", sort: "id" },
  { name: "size", sort: "stored_bytes", number: true },
  { name: "change", number: true },
  { name: "duration", sort: "duration" },
  { name: "copies" },
  { name: "proved" },
  { name: "state" },
];

export function Sets({ route }) {
  const { t, site } = usePage();
  const chosen = choice(route.query);
  const last = useRef(null);
  const answer = useAnswer(`${api(site.site, "sets")}?${asked(chosen)}`, REFRESH);
  if (answer.data) last.current = answer.data;
  const isOld = answer.data === undefined && !answer.error && last.current;
  const shown = isOld ? { ...answer, data: last.current, isLoading: false } : answer;
  const choose = (change, options) => go(to.sets(site.site, written({ ...chosen, offset: 0, ...change })), options);
  return html`<h1>${t("sets.title")}</h1>
    <${Filters} chosen=${chosen} choose=${choose} cadences=${last.current?.cadences ?? []} />
    <${Answer} answer=${shown} height="38rem">${(data) => html`<${Table} data=${data} chosen=${chosen} choose=${choose} isOld=${Boolean(isOld)} />`}<//>`;
}

function choice(query) {
  const limit = Number(query.get("limit"));
  return {
    q: query.get("q") ?? "",
    cadence: query.get("cadence") ?? "",
    sort: COLUMNS.some(({ sort }) => sort === query.get("sort")) ? query.get("sort") : "id",
    order: query.get("order") === "asc" ? "asc" : "desc",
    offset: Math.max(0, Math.floor(Number(query.get("offset")) || 0)),
    limit: LIMITS.includes(limit) ? limit : LIMIT,
  };
}

const asked = ({ q, cadence, ...rest }) => new URLSearchParams({ ...rest, ...(q && { q }), ...(cadence && { cadence }) });

/** Only what is not as it is anyway. */
function written(chosen) {
  const usual = choice(new URLSearchParams());
  return new URLSearchParams(Object.entries(chosen).filter(([name, value]) => value !== usual[name])).toString();
}

function Filters({ chosen, choose, cadences }) {
  const { t } = usePage();
  const [words, setWords] = useState(chosen.q);
  useEffect(() => setWords(chosen.q), [chosen.q]);
  useEffect(() => {
    if (words === chosen.q) return undefined;
    const timer = setTimeout(() => choose({ q: words.trim() }, { replace: true }), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [words]);
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    <label class="search"><span class="hidden">${t("sets.search")}</span><${Icon} name="search" />
      <input type="search" value=${words} placeholder=${t("sets.search.hint")} onInput=${(event) => setWords(event.currentTarget.value)} /></label>
    <label class="select"><span class="hidden">${t("sets.cadence")}</span>
      <select value=${chosen.cadence} onChange=${(event) => choose({ cadence: event.currentTarget.value })}>
        <option value="">${t("sets.all")}</option>${cadences.map((name) => html`<option value=${name}>${cadenceName(t, name)}</option>`)}</select></label></form>`;
}

function Table({ data, chosen, choose, isOld }) {
  const { t, f } = usePage();
  const { total, items } = data;
  if (!total) {
    const isFiltered = chosen.q || chosen.cadence;
    return html`<p class="hidden" role="status">${t.count("sets.found", 0)}</p>
      <${Empty} title=${t(isFiltered ? "sets.none_found" : "sets.empty")}>${isFiltered
        ? html`<button type="button" class="button" onClick=${() => choose({ q: "", cadence: "" })}>${t("sets.clear")}</button>`
        : t("sets.empty.help")}<//>`;
  }
  const stages = items.flatMap((item) => Object.keys(item.stages));
  return html`
    <div class="section-head"><p role="status">${t.count("sets.found", total)}</p>${stages.length ? html`<${StageLegend} names=${stages} />` : null}</div>
    <table class="sets ${isOld ? "is-old" : ""}" aria-busy=${isOld}>
      <thead><tr>${COLUMNS.map((column) => html`<${Head} column=${column} chosen=${chosen} choose=${choose} />`)}</tr></thead>
      <tbody>${items.map((item) => html`<${Row} key=${item.name} item=${item} />`)}</tbody></table>
    <${Pager} total=${total} chosen=${chosen} choose=${choose} />`;
}

function Head({ column, chosen, choose }) {
  const { t } = usePage();
  const label = t(`sets.column.${column.name}`);
  if (!column.sort) return html`<th scope="col" class=${column.number ? "number" : ""}>${label}</th>`;
  const isSorted = chosen.sort === column.sort;
  const order = isSorted && chosen.order === "desc" ? "asc" : "desc";
  const sorted = isSorted ? (chosen.order === "asc" ? "ascending" : "descending") : "none";
  return html`<th scope="col" class=${column.number ? "number" : ""} aria-sort=${sorted}>
    <button type="button" onClick=${() => choose({ sort: column.sort, order }, { replace: true })}>${label}
      <${Icon} name=${isSorted ? (chosen.order === "asc" ? "up" : "down") : "both"} /></button></th>`;
}

function Row({ item }) {
  const { t, f, site } = usePage();
  const cell = (name) => t(`sets.column.${name}`);
  return html`<tr>
    <th scope="row" data-label=${cell("set")}><a href=${to.set(site.site, item.name)}>${cadenceName(t, item.cadence)} <span class="id">${item.id}</span></a>
      <span class="small"><${Time} at=${item.started_at} /></span></th>
    <td data-label=${cell("size")} class="number">${item.stored_bytes == null ? html`<${None} />` : html`${f.bytes(item.stored_bytes)}<span class="small">${t("sets.raw", { size: f.bytes(item.raw_bytes) })}</span>`}</td>
    <td data-label=${cell("change")} class="number ${item.change == null ? "is-none" : ""}"><${Change} ratio=${item.change} /></td>
    <td data-label=${cell("duration")}>${item.duration_seconds == null ? html`<${None} />` : html`<span>${f.duration(item.duration_seconds)}</span><${StageBar} stages=${item.stages} />`}</td>
    <td data-label=${cell("copies")}><${Status} ok=${item.problem && !item.copies.length ? null : item.holds_3_2_1}>${t(item.holds_3_2_1 ? "rule.kept" : "rule.broken")}<//>
      <span class="small">${item.copies.join(", ")}</span></td>
    <td data-label=${cell("proved")} class=${item.proved_at ? "" : "is-none"}><${Time} at=${item.proved_at} as="day" /></td>
    <td data-label=${cell("state")} class=${item.problem || item.hold ? "" : "is-none"}>${item.problem ? html`<${Status} ok=${false}>${t("sets.problem")}<//>` : null}
      ${item.hold ? html`<span class="tag" title=${item.hold.reason}><${Icon} name="lock" />${t("hold.held")}</span>` : null}
      ${!item.problem && !item.hold ? html`<${None} />` : null}</td></tr>`;
}

const None = () => html`<span class="none">–</span>`;

export function Change({ ratio }) {
  const { t, f } = usePage();
  if (ratio == null) return html`<${None} />`;
  if (Math.abs(ratio) < 0.0005) return html`<span class="muted">${t("change.none")}</span>`;
  const isLarge = Math.abs(ratio) >= 0.5;
  return html`<span class=${isLarge ? "large-change" : ""}>${isLarge ? html`<${Icon} name="warning" />` : null}${f.percent(ratio)}</span>`;
}

function Pager({ total, chosen, choose }) {
  const { t, f } = usePage();
  const { offset, limit } = chosen;
  const from = Math.min(offset, Math.max(0, total - 1));
  const pages = Math.ceil(total / limit);
  const page = Math.floor(from / limit) + 1;
  const move = (target) => choose({ offset: (target - 1) * limit });
  return html`<nav class="pager" aria-label=${t("pager")}>
    <p>${t("pager.range", { from: f.number(from + 1), to: f.number(Math.min(from + limit, total)), total: f.number(total) })}</p>
    <div class="choice"><button type="button" disabled=${page <= 1} onClick=${() => move(1)}>${t("pager.first")}</button>
      <button type="button" disabled=${page <= 1} onClick=${() => move(page - 1)}><${Icon} name="left" />${t("pager.before")}</button>
      <span class="page-number">${f.number(page)} / ${f.number(pages)}</span>
      <button type="button" disabled=${page >= pages} onClick=${() => move(page + 1)}>${t("pager.after")}<${Icon} name="right" /></button>
      <button type="button" disabled=${page >= pages} onClick=${() => move(pages)}>${t("pager.last")}</button></div>
    <label class="select"><span>${t("pager.limit")}</span><select value=${limit} onChange=${(event) => choose({ limit: Number(event.currentTarget.value) })}>
      ${LIMITS.map((many) => html`<option value=${many}>${many}</option>`)}</select></label></nav>`;
}

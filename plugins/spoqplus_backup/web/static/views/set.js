// One set: what is in it, where it is, who can open it, and what can be done with it.
import { html, usePage, useState } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { to } from "../routes.js";
import { Icon } from "../parts/icons.js";
import { Out, Status, Time, cadenceName } from "../parts/said.js";
import { StageBar, StageLegend, inOrder } from "../parts/stages.js";
import { Answer } from "../parts/states.js";
import { HoldDialog } from "./hold.js";
import { Change } from "./sets.js";

export function SetPage({ route }) {
  const { t, site } = usePage();
  const answer = useAnswer(api(site.site, "sets", route.cadence, route.id), 120);
  return html`<p class="back"><a href=${to.sets(site.site)}><${Icon} name="left" />${t("sets.title")}</a></p>
    <${Answer} answer=${answer} height="34rem">${(set) => html`<${Detail} set=${set} reload=${answer.reload} />`}<//>`;
}

/** Everything about a set; also below a run of Airflow. */
export function Detail({ set, reload }) {
  const { t, f, site } = usePage();
  const [isAsking, setAsking] = useState(false);
  const close = (isChanged) => {
    setAsking(false);
    if (isChanged) reload();
  };
  return html`<article class="set-page">
    <div class="set-head"><div><h1>${cadenceName(t, set.cadence)} <code>${set.id}</code></h1>
        <p class="sentence">${set.started_at ? html`<${Time} at=${set.started_at} />${" – "}${f.time(Date.parse(set.finished_at))} (${f.zone})` : t("set.unread")}</p></div>
      <div class="actions">
        ${set.restore ? html`<a class="button primary" href=${to.restore(site.site, set.name)}><${Icon} name="restore" />${t("restore.do")}</a>` : null}
        ${site.may_hold ? html`<button type="button" class="button" onClick=${() => setAsking(true)}><${Icon} name="lock" />${t(set.hold ? "hold.release.do" : "hold.do")}</button>` : null}
      </div></div>
    ${set.problem ? html`<div class="notice bad" role="status"><${Icon} name="bad" /><div><p><strong>${t("set.problem")}</strong></p><p class="small">${set.problem}</p></div></div>` : null}
    ${set.hold ? html`<div class="notice" role="status"><${Icon} name="lock" /><p><strong>${t("hold.is_held")}</strong> ${set.hold.reason}${" "}
      <span class="small">${t("hold.by", { by: set.hold.by })}${set.hold.at ? html`, <${Time} at=${set.hold.at} />` : null}</span></p></div>` : null}
    ${(set.warnings ?? []).map((warning) => html`<div class="notice warn"><${Icon} name="warning" /><p>${warning}</p></div>`)}
    <${Facts} set=${set} />
    <${Copies} set=${set} />
    <${Components} set=${set} />
    <div class="two"><${Server} set=${set} /><${Encryption} set=${set} /></div>
    ${isAsking ? html`<${HoldDialog} set=${set} onClose=${close} />` : null}</article>`;
}

function Facts({ set }) {
  const { t, f } = usePage();
  const facts = [
    ["size", set.stored_bytes == null ? "–" : f.bytes(set.stored_bytes), set.raw_bytes == null ? "" : t("sets.raw", { size: f.bytes(set.raw_bytes) })],
    ["change", html`<${Change} ratio=${set.change} />`, t("set.change.help")],
    ["duration", set.duration_seconds == null ? "–" : f.duration(set.duration_seconds), ""],
    ["proved", set.proved_at ? html`<${Time} at=${set.proved_at} as="day" />` : t("set.not_proved"), set.proved_at ? t("set.proved.help") : ""],
  ];
  const stages = inOrder(set.stages);
  return html`<section class="card"><dl class="facts">${facts.map(([name, value, help]) => html`<div><dt>${t(`sets.column.${name}`)}</dt><dd>${value}<span class="small">${help}</span></dd></div>`)}</dl>
    ${stages.length ? html`<div class="stages"><${StageBar} stages=${set.stages} /><${StageLegend} names=${stages.map(([name]) => name)} />
      <p class="small">${stages.map(([name, seconds]) => `${t.word("stage", name)} ${f.duration(seconds)}`).join(" · ")}</p></div>` : null}
    ${set.run ? html`<p class="small"><${Out} href=${set.run.url}>${t("set.run", { run: set.run.run_id })}<//></p>` : null}</section>`;
}

function Copies({ set }) {
  const { t } = usePage();
  const consoles = Object.fromEntries((set.console_urls ?? []).map(({ repository, url }) => [repository, url]));
  return html`<section class="card" aria-labelledby="copies-title"><div class="section-head"><h2 id="copies-title">${t("set.copies")}</h2>
      <${Status} ok=${set.holds_3_2_1}>${t(set.holds_3_2_1 ? "rule.kept" : "rule.broken")}<//></div>
    <p class="sentence">${t("set.copies.says", { copies: t.count("copies", set.copies.length), media: t.count("media", set.media.length), offsite: t.count("offsite", set.offsite.length) })}</p>
    <ul class="chips">${set.copies.map((name) => html`<li><${Icon} name=${set.offsite.includes(name) ? "cloud" : "disk"} />${name}
      ${consoles[name] ? html` <${Out} href=${consoles[name]} isNewTab=${true}>${t("set.console")}<//>` : null}</li>`)}</ul></section>`;
}

function Components({ set }) {
  const { t, f } = usePage();
  if (!set.components?.length) return null;
  const cell = (name) => t(`component.column.${name}`);
  const columns = ["name", "kind", "parts", "size", "contents", "duration"];
  return html`<section class="card" aria-labelledby="components-title"><h2 id="components-title">${t("set.components")}</h2>
    <table class="stacked"><thead><tr>${columns.map((name) => html`<th scope="col" class=${name === "parts" || name === "size" ? "number" : ""}>${cell(name)}</th>`)}</tr></thead>
    <tbody>${set.components.map((component) => html`<tr>
      <th scope="row" data-label=${cell("name")}>${t.word("content", component.name)}${t.has(`content.${component.name}`) ? html`<span class="small"><code>${component.name}</code></span>` : null}</th>
      <td data-label=${cell("kind")}>${t.word("kind", component.content)}</td>
      <td data-label=${cell("parts")} class="number">${f.number(component.parts)}</td>
      <td data-label=${cell("size")} class="number">${f.bytes(component.stored_bytes)}<span class="small">${t("sets.raw", { size: f.bytes(component.raw_bytes) })}</span></td>
      <td data-label=${cell("contents")}>${[component.rows ? t.count("rows", component.rows) : "", component.files ? t.count("files", component.files) : ""].filter(Boolean).join(", ") || "–"}</td>
      <td data-label=${cell("duration")}><${StageBar} stages=${component.stages} /><span class="small">${f.duration(inOrder(component.stages).reduce((sum, [, seconds]) => sum + seconds, 0))}</span></td></tr>`)}</tbody></table></section>`;
}

function Server({ set }) {
  const { t, site } = usePage();
  const { server, tools = {}, depends_on: needs = [] } = set;
  const at = server?.coordinates ?? {};
  const facts = [
    ["server", server && `${server.flavour} ${server.version}`],
    ["file", at.file && `${at.file}:${at.position}`],
    ["gtid", at.gtid],
    ...Object.entries(tools).map(([tool, version]) => [tool, version]),
  ].filter(([, value]) => value);
  return html`<section class="card" aria-labelledby="server-title"><h2 id="server-title">${t("set.origin")}</h2>
    ${facts.length ? html`<dl class="pairs">${facts.map(([name, value]) => html`<dt>${t.word("origin", name)}</dt><dd><code>${value}</code></dd>`)}</dl>` : html`<p class="muted">${t("set.unread")}</p>`}
    ${needs.length ? html`<h3>${t("set.needs")}</h3><ul class="links">${needs.map((name) => html`<li><a href=${to.set(site.site, name)}>${name}</a></li>`)}</ul>` : null}</section>`;
}

function Encryption({ set }) {
  const { t } = usePage();
  const { encryption } = set;
  return html`<section class="card" aria-labelledby="encryption-title"><h2 id="encryption-title">${t("set.encryption")}</h2>
    ${encryption
      ? html`<p class="sentence">${t(encryption.recipients?.length ? "set.encryption.says" : "set.encryption.secret", { scheme: encryption.scheme })}</p>
        <ul class="keys">${(encryption.recipients ?? []).map((key) => html`<li><${Icon} name="lock" /><code>${key}</code></li>`)}</ul>`
      : html`<p class="muted">${t("set.unread")}</p>`}</section>`;
}

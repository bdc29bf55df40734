// When what ran last, and runs next.
import { html, usePage } from "../ui.js";
import { Time } from "../parts/said.js";

const ORDER = ["daily", "incremental", "binlog_archive", "weekly", "monthly", "recovery_test", "retention"];

export function Schedule({ last, next, totals }) {
  const { t, f } = usePage();
  const names = [...new Set([...ORDER, ...Object.keys(next), ...Object.keys(last)])].filter((name) => last[name] || next[name]);
  return html`<section class="card" aria-labelledby="schedule-title"><h2 id="schedule-title">${t("schedule.title")}</h2>
    <table class="plain"><thead><tr><th scope="col">${t("schedule.what")}</th><th scope="col">${t("schedule.last")}</th><th scope="col">${t("schedule.next")}</th></tr></thead>
      <tbody>${names.map((name) => html`<tr><th scope="row">${t.word("cadence", name)}</th><td><${Time} at=${last[name]} /></td><td><${Time} at=${next[name]} /></td></tr>`)}</tbody></table>
    <p class="small">${t.count("totals", totals.sets, { size: f.bytes(totals.stored_bytes) })}</p></section>`;
}

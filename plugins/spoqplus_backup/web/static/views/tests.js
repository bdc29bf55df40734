// The recovery tests: what was proved, how long it took, and the report of each.
import { html, usePage } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { to } from "../routes.js";
import { Out, Status, Time } from "../parts/said.js";
import { Answer, Empty } from "../parts/states.js";

export function Tests({ overview }) {
  const { t, f, site } = usePage();
  const answer = useAnswer(api(site.site, "tests"), 300);
  const limit = (name) => overview.data?.promises.find((promise) => promise.name === name)?.limit;
  const cell = (name) => t(`tests.column.${name}`);
  const measured = (seconds, most) => html`${seconds == null ? "–" : f.duration(seconds)}${seconds != null && most != null && seconds > most ? html` <${Status} ok=${false}>${t("tests.over")}<//>` : null}`;
  return html`<h1>${t("tests.title")}</h1><p class="sentence">${t("tests.says")}</p>
    <${Answer} answer=${answer} height="24rem">${({ tests }) => tests.length
      ? html`<section class="card"><table class="stacked"><thead><tr>${["when", "verdict", "backup", "rto", "rpo", "report"].map((name) => html`<th scope="col">${cell(name)}</th>`)}</tr></thead>
        <tbody>${tests.map((test) => html`<tr>
          <th scope="row" data-label=${cell("when")}><${Time} at=${test.finished_at} /><span class="small"><${Time} at=${test.finished_at} as="ago" /></span></th>
          <td data-label=${cell("verdict")}><${Status} ok=${test.verdict === "passed"}>${t.word("verdict", test.verdict)}<//>
            ${test.failed_checks.length ? html`<span class="small">${t("tests.failed_checks", { names: test.failed_checks.join(", ") })}</span>` : null}</td>
          <td data-label=${cell("backup")}>${test.backup ? html`<a href=${to.set(site.site, test.backup)}>${test.backup}</a>` : "–"}</td>
          <td data-label=${cell("rto")}>${measured(test.rto_seconds, limit("rto"))}</td>
          <td data-label=${cell("rpo")}>${measured(test.rpo_seconds, limit("rpo"))}</td>
          <td data-label=${cell("report")}><${Out} href=${test.report_url} isNewTab=${true}>${t("tests.open")}<//></td></tr>`)}</tbody></table></section>`
      : html`<${Empty} title=${t("tests.empty")}>${t("tests.empty.help")}<//>`}<//>`;
}

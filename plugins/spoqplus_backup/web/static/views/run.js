// What a run of Airflow made: the tab beside a run and a task.
import { Page, html, useContext, usePage } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { formats } from "../formats.js";
import { Out } from "../parts/said.js";
import { Answer, Empty } from "../parts/states.js";
import { Detail } from "./set.js";

export function RunPage({ route, sites }) {
  const { t } = usePage();
  const answer = useAnswer(api("runs", route.dag, route.run), 60);
  return html`<${Answer} answer=${answer} height="30rem">${({ site, sets, report_url: report }) => {
    const found = sites.find((one) => one.site === site);
    if (!found || (!sets.length && !report)) return html`<${Empty} title=${t("run.nothing")}>${t("run.nothing.help")}<//>`;
    return html`${report ? html`<p><${Out} class="button primary" href=${report} isNewTab=${true}>${t("run.report")}<//></p>` : null}
      <${Of} site=${found}>${sets.map((name) => html`<${One} key=${name} name=${name} />`)}<//>`;
  }}<//>`;
}

/** The page of another site than the one that was looked at. */
function Of({ site, children }) {
  const page = useContext(Page);
  return html`<${Page.Provider} value=${{ ...page, site, f: formats(page.f.language, site.timezone) }}>${children}<//>`;
}

function One({ name }) {
  const { site } = usePage();
  const answer = useAnswer(api(site.site, "sets", ...name.split("/")));
  return html`<${Answer} answer=${answer} height="30rem">${(set) => html`<${Detail} set=${set} reload=${answer.reload} />`}<//>`;
}

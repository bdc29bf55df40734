// The checks of the installation itself, where the server has them.
import { html, usePage } from "../ui.js";
import { api, useAnswer } from "../api.js";
import { Status } from "../parts/said.js";
import { Answer, Empty } from "../parts/states.js";

export function Doctor() {
  const { t, site } = usePage();
  const answer = useAnswer(api(site.site, "doctor"));
  return html`<h1>${t("doctor.title")}</h1><p class="sentence">${t("doctor.says")}</p>
    <${Answer} answer=${answer} height="24rem">${({ checks }) => checks.length
      ? html`<ul class="checks-list card">${[...checks].sort((one, other) => weight(one) - weight(other)).map(({ name, ok, detail }) => html`
        <li><${Status} ok=${ok}>${t(ok === null ? "doctor.unknown" : ok ? "doctor.good" : "doctor.bad")}<//><div><strong>${t.word("doctor", name)}</strong><p class="small">${detail}</p></div></li>`)}</ul>`
      : html`<${Empty} title=${t("doctor.empty")} />`}<//>`;
}

/** What is wrong first. */
const weight = ({ ok }) => (ok === false ? 0 : ok === null ? 1 : 2);

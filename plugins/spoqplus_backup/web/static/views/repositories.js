// Where the backups are kept, and whether each place answers.
import { html, usePage } from "../ui.js";
import { Icon } from "../parts/icons.js";
import { Status, Time } from "../parts/said.js";

export function Repositories({ repositories }) {
  const { t } = usePage();
  return html`<section class="card" aria-labelledby="repositories-title"><h2 id="repositories-title">${t("repositories.title")}</h2>
    <ul class="places">${repositories.map((repository) => html`<${Place} ...${repository} />`)}</ul></section>`;
}

function Place({ name, role, medium, offsite, up, as_of: asOf }) {
  const { t } = usePage();
  return html`<li class=${up === false ? "is-down" : ""}><${Icon} name=${offsite ? "cloud" : "disk"} />
    <div><strong>${name}</strong><p class="small">${[t.word("role", role), t.word("medium", medium), t(offsite ? "offsite.yes" : "offsite.no")].join(" · ")}</p></div>
    <div class="place-state"><${Status} ok=${up}>${t(up === null ? "repositories.unknown" : up ? "repositories.up" : "repositories.down")}<//>
      <p class="small">${asOf ? html`${t("repositories.seen")} <${Time} at=${asOf} as="ago" />` : t("repositories.never")}</p></div></li>`;
}

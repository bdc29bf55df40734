// Why what is shown may not be all, or not be new.
import { html, usePage } from "../ui.js";
import { Icon } from "../parts/icons.js";

export function Notices({ data }) {
  const { t, f, now } = usePage();
  const { catalogue, repositories } = data;
  const down = repositories.filter(({ up }) => up === false);
  return html`
    ${down.map(({ name, error, as_of: asOf }) => html`<div class="notice bad" role="status"><${Icon} name="bad" /><div>
      <p><strong>${t("notice.down", { name })}</strong> ${asOf ? t("notice.down.old", { moment: f.moment(Date.parse(asOf), now()), ago: f.ago(asOf, now()) }) : t("notice.down.never")}</p>
      ${error ? html`<p class="small">${error}</p>` : null}</div></div>`)}
    ${!down.length && catalogue.stale && catalogue.as_of ? html`<div class="notice warn" role="status"><${Icon} name="warning" /><p>${t("notice.stale", { ago: f.ago(catalogue.as_of, now()) })}</p></div>` : null}
    ${catalogue.complete ? null : html`<div class="notice" role="status"><${Icon} name="search" /><p>${t("notice.reading")}</p></div>`}`;
}

// The head of every view: whose backups these are, how old what is shown is, and the way to the other views.
import { html, useEffect, usePage, useState } from "../ui.js";
import { api, ask } from "../api.js";
import { go, to } from "../routes.js";
import { Icon } from "../parts/icons.js";

const TABS = ["overview", "sets", "trends", "tests"];
const UNDER = { set: "sets", restore: "sets" };

export function Header({ sites, route, overview }) {
  const { t, site } = usePage();
  const hasDoctor = useDoctor(site.site);
  const tabs = hasDoctor || route.view === "doctor" ? [...TABS, "doctor"] : TABS;
  const current = UNDER[route.view] ?? route.view;
  return html`<header class="top"><div class="top-line">
      <p class="brand">${t("title")}</p>
      ${sites.length > 1
        ? html`<label class="site-switch"><span class="hidden">${t("sites.switch")}</span>
          <select value=${site.site} onChange=${(event) => go(to.site(event.currentTarget.value, TABS.includes(current) && current !== "overview" ? current : ""))}>
            ${sites.map((one) => html`<option value=${one.site}>${one.site}</option>`)}</select></label>`
        : html`<p class="site-name">${site.site}</p>`}
      <${Freshness} overview=${overview} /></div>
    <nav aria-label=${t("nav")}><ul>${tabs.map((tab) => html`
      <li><a href=${to.site(site.site, tab === "overview" ? "" : tab)} aria-current=${tab === current ? "page" : null}>${t(`tab.${tab}`)}</a></li>`)}</ul></nav></header>`;
}

/** The checks of the installation are a page of their own where the server has them. */
function useDoctor(site) {
  const [has, setHas] = useState(false);
  useEffect(() => {
    const aborter = new AbortController();
    const later = setTimeout(() => {
      ask(api(site, "doctor"), { signal: aborter.signal }).then(() => setHas(true), () => setHas(false));
    }, 800); // after what stands at the top
    return () => {
      clearTimeout(later);
      aborter.abort();
    };
  }, [site]);
  return has;
}

function Freshness({ overview }) {
  const { t, f, now } = usePage();
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), 20000);
    return () => clearInterval(timer);
  }, []);
  const { catalogue } = overview.data ?? {};
  if (!catalogue) return html`<p class="freshness"></p>`;
  if (!catalogue.as_of) return html`<p class="freshness" role="status">${t("fresh.first")}</p>`;
  const isOld = catalogue.stale || Boolean(overview.error);
  return html`<p class="freshness ${isOld ? "is-old" : ""}">${isOld ? html`<${Icon} name="warning" />` : null}
    <time datetime=${catalogue.as_of} title=${f.full(Date.parse(catalogue.as_of))}>${t("fresh.as_of", { ago: f.ago(catalogue.as_of, now()) })}</time></p>`;
}

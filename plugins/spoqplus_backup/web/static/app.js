// The Backups page: finds language and site, and shows what the address asks for.
import { Page, html, render, useCallback, useEffect, useMemo, usePage, useRef, useState } from "./ui.js";
import { language, onLanguage, showAddress } from "./airflow.js";
import { api, useAnswer } from "./api.js";
import { formats } from "./formats.js";
import { load, translator } from "./i18n.js";
import { go, to, useRoute } from "./routes.js";
import { Answer, Empty } from "./parts/states.js";
import { Header } from "./views/header.js";
import { Overview } from "./views/overview.js";
import { Sets } from "./views/sets.js";
import { SetPage } from "./views/set.js";
import { Restore } from "./views/restore.js";
import { Trends } from "./views/trends.js";
import { Tests } from "./views/tests.js";
import { Doctor } from "./views/doctor.js";
import { RunPage } from "./views/run.js";

const VIEWS = { overview: Overview, sets: Sets, set: SetPage, restore: Restore, trends: Trends, tests: Tests, doctor: Doctor };
const REFRESH = 60; // seconds between two looks at what stands at the top
const HURRY = 3; // while the catalogue is being made
const SITE = "spoqplus-site"; // which site this browser looked at last

function App() {
  const [texts, setTexts] = useState(null);
  useEffect(() => {
    const follow = async () => {
      const wanted = language();
      if (document.documentElement.lang === wanted && document.documentElement.dataset.ready) return;
      const found = await load(wanted);
      document.documentElement.lang = wanted;
      document.documentElement.dataset.ready = "yes";
      setTexts({ language: wanted, t: translator(wanted, found) });
    };
    follow();
    return onLanguage(follow);
  }, []);
  return texts ? html`<${Sites} ...${texts} />` : null;
}

/** Finds out which sites there are, and which one is meant. */
function Sites({ language, t }) {
  const route = useRoute();
  const answer = useAnswer(api("sites"));
  const sites = answer.data?.sites ?? [];
  const asked = route.site ?? remembered();
  const site = sites.find(({ site }) => site === asked) ?? (route.site ? null : sites[0]) ?? null;
  const zone = site?.timezone ?? sites[0]?.timezone ?? "UTC";
  const shift = useRef(0); // how far the server's clock is ahead of the browser's
  const now = useCallback(() => Date.now() + shift.current, []);
  const f = useMemo(() => formats(language, zone), [language, zone]);
  const page = useMemo(() => ({ t, f, site, now }), [t, f, site, now]);
  useEffect(() => {
    if (site) localStorage.setItem(SITE, site.site);
  }, [site]);
  return html`<${Page.Provider} value=${page}>
    <${Answer} answer=${answer} height="20rem">${() => {
      if (route.view === "run") return html`<main id="main" class="page"><${RunPage} route=${route} sites=${sites} /></main>`;
      if (!sites.length) return html`<main class="page"><${Empty} title=${t("sites.none")}>${t("sites.none.help")}<//></main>`;
      if (!site) return html`<main class="page"><${Empty} title=${t("sites.unknown", { site: route.site })}><a href=${to.site(sites[0].site)}>${t("sites.go", { site: sites[0].site })}</a><//></main>`;
      return html`<${Site} key=${site.site} sites=${sites} route=${route} shift=${shift} />`;
    }}<//><//>`;
}

function remembered() {
  try {
    return localStorage.getItem(SITE);
  } catch {
    return null;
  }
}

function Site({ sites, route, shift }) {
  const { site, t } = usePage();
  const overview = useAnswer(api(site.site, "overview"), (data) => (data && !data.catalogue.complete) || data?.catalogue.refreshing ? HURRY : REFRESH);
  if (overview.data) shift.current = Math.abs(Date.parse(overview.data.now) - Date.now()) > 5000 ? Date.parse(overview.data.now) - Date.now() : shift.current;
  const View = VIEWS[route.view];
  const main = useRef(null);
  const first = useRef(true);
  const place = `${route.view}/${route.name ?? ""}`;
  useEffect(() => {
    document.title = [route.name ?? t(`tab.${route.view}`), t("title")].join(" · ");
    if (!first.current) {
      window.scrollTo(0, 0);
      main.current.focus({ preventScroll: true });
    }
    first.current = false;
  }, [place, t]);
  useEffect(() => {
    if (!route.site) go(to.site(site.site), { replace: true });
    else showAddress();
  }, [route.site, site.site]);
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${t("skip")}</a>
    <${Header} sites=${sites} route=${route} overview=${overview} />
    <main id="main" class="page" tabindex="-1" ref=${main}>
      ${View ? html`<${View} key=${place} route=${route} overview=${overview} />` : html`<${Empty} title=${t("error.nowhere")}><a href=${to.site(site.site)}>${t("tab.overview")}</a><//>`}
    </main>`;
}

render(html`<${App} />`, document.getElementById("app"));

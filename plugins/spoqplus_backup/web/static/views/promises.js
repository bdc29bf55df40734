// The four promises as plain statements, each with its number.
import { html, usePage } from "../ui.js";
import { to } from "../routes.js";
import { Icon } from "../parts/icons.js";
import { Status } from "../parts/said.js";

const SIGNS = { true: "good", false: "bad", null: "unknown" };

export function Promises({ data }) {
  const { t } = usePage();
  const broken = data.promises.filter(({ ok }) => ok === false).length;
  const unknown = data.promises.filter(({ ok }) => ok === null).length;
  const ok = broken ? false : unknown ? null : true;
  const said = broken ? t.count("promises.broken", broken) : unknown ? t.count("promises.unknown", unknown) : t("promises.kept");
  return html`<section aria-labelledby="promises-title">
    <h1 id="promises-title" class="headline ${SIGNS[ok]}"><${Icon} name=${SIGNS[ok]} />${said}</h1>
    <ul class="promises">${data.promises.map((promise) => html`<${Promise} key=${promise.name} promise=${promise} />`)}</ul></section>`;
}

function Promise({ promise }) {
  const { t, f, now } = usePage();
  const { name, ok, value, limit, unit, at, set, reason } = promise;
  const sign = SIGNS[ok];
  const shown = number(t, f, promise);
  return html`<li class="promise ${sign}">
    <div class="promise-head"><${Status} ok=${ok}>${t(`status.${sign}`)}<//><h2>${t(`promise.${name}`)}</h2></div>
    <p class="big">${shown}</p>
    <p class="says">${says(t, f, now, promise)}</p>
    ${unit === "seconds" && value != null && limit ? html`<${Meter} share=${value / limit} />` : html`<div class="meter none"></div>`}
    <p class="small">${limitOf(t, f, name, limit)}</p>
    ${reason ? html`<p class="why">${t.has(`reason.${name}.${reason}`) ? t(`reason.${name}.${reason}`) : t.word("reason", reason)}</p>` : null}
    <${Evidence} name=${name} set=${set} at=${at} /></li>`;
}

function number(t, f, { name, value, unit, at, reason }) {
  if (name === "recovery_test") {
    if (!at) return t("promise.recovery_test.never");
    return t(reason === "failed" ? "promise.recovery_test.failed" : "promise.recovery_test.passed");
  }
  if (value == null) return t("promise.none");
  return unit === "seconds" ? f.duration(value, "long") : t.count("copies", value);
}

function says(t, f, now, { name, at, value }) {
  if (name === "recovery_test") return at ? t("promise.recovery_test.says", { ago: f.ago(at, now()) }) : t("promise.recovery_test.never.says");
  if (name === "rto" && at && value != null) return t("promise.rto.says", { day: f.day(Date.parse(at)) });
  if (value == null) return t(`promise.${name}.none`);
  return t(`promise.${name}.says`);
}

function limitOf(t, f, name, limit) {
  if (limit == null) return "\u00a0";
  return t(`promise.${name}.limit`, { limit: name === "copies" ? f.number(limit) : f.duration(limit, "long") });
}

/** How much of the limit is used; past its end when it is broken. The numbers beside say the same. */
const Meter = ({ share }) => html`<div class="meter" aria-hidden="true"><i style=${{ width: `${Math.min(100, Math.max(1.5, share * 100))}%` }}></i></div>`;

function Evidence({ name, set, at }) {
  const { t, site } = usePage();
  if (name === "rto" || name === "recovery_test") {
    return html`<p class="evidence"><a href=${to.site(site.site, "tests")}>${t(at ? "promise.see_tests" : "promise.how_tests")}</a></p>`;
  }
  return html`<p class="evidence">${set ? html`<a href=${to.set(site.site, set)}>${t("promise.see_set", { set })}</a>` : html`<a href=${to.sets(site.site)}>${t("promise.see_sets")}</a>`}</p>`;
}

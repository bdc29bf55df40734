// What a view shows when it has nothing to show: it loads, there is nothing, it failed, or what is shown is old.
import { html, usePage } from "../ui.js";
import { Icon } from "./icons.js";
import { Out } from "./said.js";

const GONE = 401;
const FORBIDDEN = 403;
const MISSING = 404;

/** Grey blocks of the size of what comes, so that nothing jumps. */
export function Loading({ height = "12rem", many = 1 }) {
  const { t } = usePage();
  const blocks = Array.from({ length: many }, () => html`<div class="skeleton" style=${{ height }}></div>`);
  return html`<div class="loading" role="status"><span class="hidden">${t("loading")}</span>${blocks}</div>`;
}

/** Nothing is there, and why that may be. */
export const Empty = ({ title, children }) => html`
  <div class="empty"><${Icon} name="empty" /><h3>${title}</h3>${children ? html`<p>${children}</p>` : null}</div>`;

/** A failed question: what failed, and what to do. */
export function Failure({ error, retry }) {
  const { t } = usePage();
  return html`<div class="empty failure" role="alert"><${Icon} name="warning" /><h3>${title(t, error)}</h3>
    <p>${error.status === GONE ? t("error.login.help") : error.message || t("error.help")}</p>
    ${error.status === GONE
      ? html`<${Out} class="button primary" href="..">${t("error.login.do")}<//>`
      : retry && html`<button type="button" class="button" onClick=${retry}>${t("retry")}</button>`}</div>`;
}

function title(t, error) {
  if (error.status === GONE) return t("error.login");
  if (error.status === FORBIDDEN) return t("error.forbidden");
  if (error.status === MISSING) return t("error.missing");
  return error.status ? t("error.server", { status: error.status }) : t("error.network");
}

/** A line over what is still shown although it could not be asked for again. */
export function StillShown({ error, retry }) {
  const { t } = usePage();
  return html`<div class="notice warn" role="status"><${Icon} name="warning" /><p><strong>${title(t, error)}</strong> ${t("error.still_shown")}</p>
    <button type="button" class="button small" onClick=${retry}>${t("retry")}</button></div>`;
}

/** Shows an answer: `children` is a function of the data. */
export function Answer({ answer, height, many, children }) {
  const { data, error, isLoading, reload } = answer;
  if (isLoading) return html`<${Loading} height=${height} many=${many} />`;
  if (data === undefined) return html`<${Failure} error=${error ?? new Error("")} retry=${reload} />`;
  return html`${error ? html`<${StillShown} error=${error} retry=${reload} />` : null}${children(data)}`;
}

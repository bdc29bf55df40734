// Small things that are said all over the page.
import { html, usePage, useState } from "../ui.js";
import { leave, outer } from "../airflow.js";
import { Icon } from "./icons.js";

const SIGNS = { true: "good", false: "bad", null: "unknown" };

/** A moment; its full form is its title. `as` is "moment", "day" or "ago". */
export function Time({ at, as = "moment" }) {
  const { f, now } = usePage();
  if (!at) return html`<span class="none">–</span>`;
  const ms = Date.parse(at);
  const text = as === "ago" ? f.ago(at, now()) : f[as](ms, now());
  return html`<time datetime=${at} title=${f.full(ms)}>${text}</time>`;
}

/** A word with its sign: never a colour alone. `ok` is true, false or null. */
export const Status = ({ ok, children }) => html`
  <span class="status ${SIGNS[ok] ?? SIGNS[null]}"><${Icon} name=${SIGNS[ok] ?? SIGNS[null]} />${children}</span>`;

/** A link out of this page: to Airflow's pages, a report, a console. */
export function Out({ href, isNewTab = false, children, ...rest }) {
  const { t } = usePage();
  const click = (event) => {
    if (!outer) return;
    event.preventDefault();
    leave(href, isNewTab);
  };
  return html`<a href=${href} target=${isNewTab ? "_blank" : "_top"} rel="noopener" onClick=${click} ...${rest}>
    ${children}${isNewTab ? html`<${Icon} name="out" /><span class="hidden"> ${t("new_tab")}</span>` : null}</a>`;
}

/** What a set is, in words: `Daily`, `6-hour increment`. */
export const cadenceName = (t, cadence) => t.word("cadence", cadence);

/** Text with `code`, **strong** and *emphasis*: what descriptions in Airflow's forms use. */
export function Marked({ text }) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/).map((piece, position) => {
    if (position % 2 === 0) return piece;
    if (piece[0] === "`") return html`<code>${piece.slice(1, -1)}</code>`;
    return piece.startsWith("**") ? html`<strong>${piece.slice(2, -2)}</strong>` : html`<em>${piece.slice(1, -1)}</em>`;
  });
}

/** A table that stands for a picture; it is made when it is opened. */
export function AsTable({ label, children }) {
  const [isOpen, setOpen] = useState(false);
  return html`<details class="as-table" onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>${label}</summary>
    ${isOpen ? html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>${children}</div>` : null}</details>`;
}

// How long each stage of a backup took, as a bar of shares.
import { html, usePage } from "../ui.js";

const ORDER = ["dump", "archive", "sync", "export", "compress", "encrypt", "upload", "verify", "publish"];

/** Stages in the order in which they run: `[[name, seconds]]`. */
export const inOrder = (stages) =>
  Object.entries(stages ?? {}).sort(([one], [other]) => place(one) - place(other));

const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

/** The colour's number of a stage: the first task of each kind of component has the same. */
export const tone = (name) => (place(name) < 4 ? 0 : Math.min(place(name) - 3, 6));

export function StageBar({ stages }) {
  const { t, f } = usePage();
  const found = inOrder(stages).filter(([, seconds]) => seconds > 0);
  if (!found.length) return null;
  const total = found.reduce((sum, [, seconds]) => sum + seconds, 0);
  const said = found.map(([name, seconds]) => `${t.word("stage", name)} ${f.duration(seconds)}`).join(", ");
  return html`<span class="stage-bar" title=${said}><span class="hidden">${said}</span>
    ${found.map(([name, seconds]) => html`<i class="tone-${tone(name)}" style=${{ flexGrow: seconds / total }}></i>`)}</span>`;
}

/** What the colours mean. */
export function StageLegend({ names }) {
  const { t } = usePage();
  const seen = [...new Set(names)].sort((one, other) => place(one) - place(other));
  const tones = Map.groupBy ? Map.groupBy(seen, tone) : grouped(seen);
  return html`<p class="legend">${[...tones].map(([number, group]) => html`
    <span><i class="tone-${number}"></i>${group.map((name) => t.word("stage", name)).join(" · ")}</span>`)}</p>`;
}

function grouped(names) {
  const found = new Map();
  for (const name of names) found.set(tone(name), [...(found.get(tone(name)) ?? []), name]);
  return found;
}

// What a director looks at: are the promises kept, where can we go back to, and is everything running.
import { html } from "../ui.js";
import { Answer } from "../parts/states.js";
import { Timeline } from "../parts/timeline.js";
import { Notices } from "./notices.js";
import { Promises } from "./promises.js";
import { Repositories } from "./repositories.js";
import { Schedule } from "./schedule.js";

export function Overview({ overview }) {
  return html`<${Answer} answer=${overview} height="19rem" many="3">${(data) => html`
    <${Notices} data=${data} />
    <${Promises} data=${data} />
    <${Timeline} />
    <div class="two">
      <${Repositories} repositories=${data.repositories} />
      <${Schedule} last=${lasts(data)} next=${data.next} totals=${data.totals} />
    </div>`}<//>`;
}

/** Of the log archive and the recovery test the promises know best. */
function lasts({ last, promises }) {
  const at = Object.fromEntries(promises.map((promise) => [promise.name, promise.at]));
  return { ...last, binlog_archive: at.rpo, recovery_test: at.recovery_test };
}

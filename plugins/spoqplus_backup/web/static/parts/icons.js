// Signs of 24 by 24, drawn with the colour of the text beside them. All are decoration: a word stands with each.
import { html } from "../ui.js";

const PATHS = {
  good: "M8 12.5l2.8 2.8L16.5 9 M12 2.8a9.2 9.2 0 1 0 0 18.4a9.2 9.2 0 0 0 0-18.4",
  bad: "M9 9l6 6 M15 9l-6 6 M8 2.8h8L21.2 8v8L16 21.2H8L2.8 16V8z",
  unknown: "M9.4 9.3a2.7 2.7 0 1 1 4 2.4c-.9.5-1.4 1-1.4 2 M12 17v.01 M12 2.8a9.2 9.2 0 1 0 0 18.4a9.2 9.2 0 0 0 0-18.4",
  warning: "M12 9.5v4 M12 17v.01 M12 3.5L22 20.5H2z",
  lock: "M5.5 11h13v9.5h-13z M8 11V7.6a4 4 0 0 1 8 0V11",
  out: "M14 4h6v6 M20 4l-9 9 M10 5H5v14h14v-5",
  up: "M12 19V5 M6 11l6-6l6 6",
  down: "M12 5v14 M6 13l6 6l6-6",
  left: "M15 5l-7 7l7 7",
  right: "M9 5l7 7l-7 7",
  both: "M8 9l4-4l4 4 M8 15l4 4l4-4",
  restore: "M4 12a8 8 0 1 0 2.6-5.9 M4 4v4.5h4.5 M12 8v4.2l2.8 1.8",
  disk: "M4 13h16v6H4z M4 13l3-8h10l3 8 M16.5 16v.01",
  cloud: "M7 18.5a4.5 4.5 0 0 1-.4-9a5.6 5.6 0 0 1 10.8 1.1a4 4 0 0 1-.4 7.9z",
  empty: "M4 7l8-4l8 4v10l-8 4l-8-4z M4 7l8 4l8-4 M12 11v10",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13 M15.3 15.3L20.5 20.5",
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;

// The front-end library as the rest of the page uses it: Preact with templates instead of a build step.
import { Fragment, createContext, h, render } from "./vendor/preact.js";
import { useCallback, useContext, useEffect, useId, useMemo, useRef, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
export { Fragment, createContext, render };
export { useCallback, useContext, useEffect, useId, useMemo, useRef, useState };

/** What every view needs: texts `t`, formats `f`, the site, the server's time. */
export const Page = createContext(null);

/** @returns {{t: Function, f: object, site: object, now: () => number}} */
export const usePage = () => useContext(Page);

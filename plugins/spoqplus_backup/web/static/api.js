// What the page asks the server. Addresses are relative to the page: Airflow may live below a path.
import { useCallback, useEffect, useRef, useState } from "./ui.js";

const MOST_KEPT = 60;
const kept = new Map(); // the last answer to each question, to show at once when a view is opened again

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Ask; `body` is sent as JSON. Throws ApiError, or TypeError when the server can't be reached. */
export async function ask(url, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["Content-Type"] = "application/json";
  const response = await fetch(url, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!response.ok) throw new ApiError(response.status, await explanation(response));
  return response.status === 204 ? null : response.json();
}

async function explanation(response) {
  try {
    const { detail } = await response.json();
    return typeof detail === "string" ? detail : detail.map(({ loc, msg }) => `${loc.at(-1)}: ${msg}`).join("; ");
  } catch {
    return "";
  }
}

/** The address of a question to our API. */
export const api = (...parts) => `api/${parts.map(encodeURIComponent).join("/")}`;

/**
 * The answer to a question, kept fresh while the view is open: `{data, error, isLoading, reload}`. `data` stays when a
 * later try fails. `every` is a number of seconds or a function of the answer; nothing is asked by a hidden page.
 */
export function useAnswer(url, every = 0) {
  const [, draw] = useState(0);
  const again = useRef(() => {});
  const waits = useRef(every);
  waits.current = every;
  useEffect(() => {
    if (!url) return undefined;
    const aborter = new AbortController();
    let timer = null;
    const load = async () => {
      clearTimeout(timer);
      try {
        keep(url, { data: await ask(url, { signal: aborter.signal }), error: null });
      } catch (error) {
        if (aborter.signal.aborted) return;
        keep(url, { data: kept.get(url)?.data, error });
      }
      if (aborter.signal.aborted) return;
      draw((count) => count + 1);
      const seconds = typeof waits.current === "function" ? waits.current(kept.get(url)?.data) : waits.current;
      if (seconds) timer = setTimeout(load, seconds * 1000);
    };
    const returned = () => {
      if (document.hidden) clearTimeout(timer);
      else if (waits.current) load();
    };
    again.current = load;
    load();
    document.addEventListener("visibilitychange", returned);
    return () => {
      aborter.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", returned);
    };
  }, [url]);
  const reload = useCallback(() => again.current(), []);
  const { data, error } = kept.get(url) ?? {};
  return { data, error, isLoading: Boolean(url) && data === undefined && !error, reload };
}

function keep(url, answer) {
  kept.delete(url);
  kept.set(url, answer);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

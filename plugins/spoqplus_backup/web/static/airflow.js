// Airflow's UI around this page: it lives in a sandboxed frame of the same origin, or is opened directly.

/** Airflow's window, or null when this page was opened directly. */
export const outer = (() => {
  try {
    return window.parent !== window && window.parent.document ? window.parent : null;
  } catch {
    return null; // a frame of somebody else
  }
})();

/** The language of Airflow's UI, else the browser's: "ko" or "en". */
export function language() {
  let kept = null;
  try {
    kept = localStorage.getItem("i18nextLng");
  } catch {
    // storage is forbidden
  }
  const wanted = kept || outer?.document.documentElement.lang || navigator.language || "en";
  return wanted.toLowerCase().startsWith("ko") ? "ko" : "en";
}

/** Calls back when Airflow's language may have changed. */
export function onLanguage(changed) {
  const observer = new MutationObserver(changed);
  if (outer) observer.observe(outer.document.documentElement, { attributeFilter: ["lang"] });
  window.addEventListener("storage", changed);
  return () => {
    observer.disconnect();
    window.removeEventListener("storage", changed);
  };
}

/** Leave the frame. Its sandbox forbids that to links of ours, so it is one of Airflow's document that is followed. */
export function leave(url, isNewTab) {
  const place = outer ? outer.document : document;
  const link = place.createElement("a");
  link.href = new URL(url, document.baseURI).href;
  if (isNewTab) {
    link.target = "_blank";
    link.rel = "noopener";
  }
  place.body.append(link);
  link.click();
  link.remove();
}

/** Keep the address of Airflow's page in step, so that it can be copied and reloaded: only it knows `/plugin/...`. */
export function showAddress() {
  const found = outer?.location.pathname.match(/^.*?\/plugin\/[^/]+/);
  if (!found) return;
  const { pathname, search, hash } = window.location;
  outer.history.replaceState(outer.history.state, "", `${found[0]}${pathname}${search}${hash}`);
}

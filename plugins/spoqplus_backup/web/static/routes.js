// The page's addresses: all behind the #, so that a link to a set works from anywhere.
import { useEffect, useState } from "./ui.js";
import { showAddress } from "./airflow.js";

const TABS = ["sets", "trends", "tests", "doctor"];
const MOVED = "routechange";

const path = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

export const to = {
  site: (site, tab = "") => (tab ? path(site, tab) : path(site)),
  sets: (site, query) => `${path(site, "sets")}${query ? `?${query}` : ""}`,
  set: (site, name) => path(site, ...name.split("/")),
  restore: (site, name) => path(site, ...name.split("/"), "restore"),
};

/** What an address asks for: `{view, site, name, cadence, id, dag, run, query}`. */
export function parse(hash) {
  const [address, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const query = new URLSearchParams(search);
  const parts = address.split("/").filter(Boolean).map(decoded);
  if (parts[0] === "run" && parts.length === 3) return { view: "run", dag: parts[1], run: parts[2], query };
  const [site = null, cadence, id, last] = parts;
  if (parts.length === 2 && TABS.includes(cadence)) return { view: cadence, site, query };
  if (parts.length === 3) return { view: "set", site, cadence, id, name: `${cadence}/${id}`, query };
  if (parts.length === 4 && last === "restore") {
    return { view: "restore", site, cadence, id, name: `${cadence}/${id}`, query };
  }
  return { view: parts.length < 2 ? "overview" : "nothing", site, query };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Go to an address of this page; `replace` leaves no step in the browser's history. */
export function go(hash, { replace = false } = {}) {
  if (replace) {
    history.replaceState(history.state, "", hash);
    window.dispatchEvent(new Event(MOVED));
  } else {
    window.location.hash = hash;
  }
}

/** The present route. */
export function useRoute() {
  const [hash, setHash] = useState(window.location.hash);
  useEffect(() => {
    const moved = () => {
      setHash(window.location.hash);
      showAddress();
    };
    window.addEventListener("hashchange", moved);
    window.addEventListener(MOVED, moved);
    return () => {
      window.removeEventListener("hashchange", moved);
      window.removeEventListener(MOVED, moved);
    };
  }, []);
  return parse(hash);
}

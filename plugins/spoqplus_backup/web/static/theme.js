// Light or dark before the first paint, as Airflow's UI is: it keeps its choice under "theme" and on its <html>.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function around() {
    try {
      return window.parent === window ? null : window.parent.document.documentElement;
    } catch {
      return null; // a frame of somebody else
    }
  }

  function theme() {
    const classes = around()?.classList;
    if (classes?.contains("dark")) return "dark";
    if (classes?.contains("light")) return "light";
    let kept = null;
    try {
      kept = localStorage.getItem("theme");
    } catch {
      // storage is forbidden
    }
    if (kept === "dark" || kept === "light") return kept;
    return dark.matches ? "dark" : "light";
  }

  function follow() {
    const now = theme();
    if (document.documentElement.dataset.theme === now) return;
    document.documentElement.dataset.theme = now;
    window.dispatchEvent(new Event("themechange"));
  }

  follow();
  dark.addEventListener("change", follow);
  window.addEventListener("storage", follow);
  const outer = around();
  if (outer) new MutationObserver(follow).observe(outer, { attributeFilter: ["class"] });
})();

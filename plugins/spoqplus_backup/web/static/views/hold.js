// A hold keeps a set from being deleted, with a reason for whoever asks later.
import { html, useId, usePage, useState } from "../ui.js";
import { api, ask } from "../api.js";
import { Dialog } from "../parts/dialog.js";

const LONGEST = 500;

export function HoldDialog({ set, onClose }) {
  const { t, site } = usePage();
  const [reason, setReason] = useState("");
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const url = api(site.site, "sets", set.cadence, set.id, "hold");
  const send = async (event) => {
    event.preventDefault();
    if (!set.hold && !reason.trim()) {
      setError(t("hold.reason.missing"));
      return;
    }
    setBusy(true);
    try {
      await ask(url, set.hold ? { method: "DELETE" } : { method: "PUT", body: { reason: reason.trim() } });
      onClose(true);
    } catch (failure) {
      setError(failure.message || t("error.help"));
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${t(set.hold ? "hold.release.title" : "hold.title")} onClose=${() => onClose(false)}>
    <form onSubmit=${send} novalidate><p>${t(set.hold ? "hold.release.help" : "hold.help")}</p><p><code>${set.name}</code></p>
      ${set.hold ? null : html`<label for=${id}>${t("hold.reason")}</label>
        <textarea id=${id} rows="3" maxlength=${LONGEST} required value=${reason} aria-invalid=${Boolean(error)} aria-describedby="${id}-error" onInput=${(event) => setReason(event.currentTarget.value)}></textarea>`}
      <p class="form-error" id="${id}-error" role="alert">${error}</p>
      <div class="actions"><button type="button" class="button" onClick=${() => onClose(false)}>${t("cancel")}</button>
        <button type="submit" class="button primary" disabled=${isBusy}>${t(set.hold ? "hold.release.do" : "hold.confirm")}</button></div></form><//>`;
}

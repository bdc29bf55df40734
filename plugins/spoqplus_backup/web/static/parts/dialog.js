// A dialog of the browser's own: it keeps the focus and closes by Escape. (window.confirm is forbidden in the frame.)
import { html, useEffect, useId, useRef } from "../ui.js";

export function Dialog({ title, onClose, children }) {
  const element = useRef(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return html`<dialog ref=${element} aria-labelledby=${id} onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <h2 id=${id}>${title}</h2>${children}</dialog>`;
}

// A button that asks first, before what cannot be taken back.
import { html, useRef } from "/ui/vendor/htm/standalone.module.js";

/** @param {{label: string, of?: string, question: string, yes: string, busy?: boolean, onYes: () => void}} props
 * `of` tells apart, for who does not see where it stands, several buttons of one label */
export function Confirmed({ label, of = "", question, yes, busy = false, onYes }) {
  const dialog = useRef(/** @type {any} */ (null));
  const close = () => dialog.current.close();
  const name = `${label} ${of}`.trim();
  return html`<button type="button" class="risky" aria-label=${name} disabled=${busy} onClick=${() => dialog.current.showModal()}>${label}</button>
    <dialog ref=${dialog} aria-label=${name}><p>${question}</p><div class="row">
      <button type="button" class="risky" onClick=${() => { close(); onYes(); }}>${yes}</button>
      <button type="button" onClick=${close}>Leave it as it is</button></div></dialog>`;
}

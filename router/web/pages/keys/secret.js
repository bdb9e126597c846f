// A new secret, the one time that it is seen.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { credentials } from "/ui/api.js";
import { Field } from "/ui/parts/controls.js";

/** @param {{issued: {name: string, secret: string}, replaces?: string, onClose: () => void}} props
 * `replaces` is the beginning of the secret it comes after */
export function Secret({ issued, replaces, onClose }) {
  const [copied, say] = useState("");
  const refused = () => say("This browser does not let the page copy: select the text and copy it yourself.");
  const copy = () => (navigator.clipboard ? navigator.clipboard.writeText(issued.secret).then(() => say("Copied."), refused) : refused());
  const own = replaces !== undefined && credentials.key.startsWith(replaces);
  return html`<div class="secret" role="group" aria-label=${`The secret of ${issued.name}`}>
    <p role="alert"><b>This is the secret of ${issued.name}. It is shown this once:</b> the server keeps no copy. Store it where secrets are kept, then close this.</p>
    <${Field} label="Secret"><input readonly value=${issued.secret} onFocus=${(/** @type {any} */ e) => e.currentTarget.select()} /></${Field}>
    <div class="row"><button type="button" class="main" onClick=${copy}>Copy</button>
      ${own && html`<button type="button" onClick=${() => { credentials.key = issued.secret; say("This tab asks with it from now on."); }}>Use it in this tab</button>`}
      <button type="button" onClick=${onClose}>I have stored it</button><span role="status">${copied}</span></div></div>`;
}

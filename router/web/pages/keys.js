// API keys: who may ask, and what admins did.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Audit } from "/ui/pages/keys/audit.js";
import { Create } from "/ui/pages/keys/create.js";
import { Listed } from "/ui/pages/keys/listed.js";
import { Shown, useAsked } from "/ui/parts/states.js";

/** Where no key is asked for, keys open nothing; the page says so first.
 * @type {Record<string, string>} */
const MODES = {
  none: "Nobody is asked for a key here: this server answers this machine's own programs (auth.mode is none). Keys made now open nothing until auth.mode is keys.",
  jwt: "This server asks for tokens, not for keys (auth.mode is jwt). Keys open nothing until auth.mode is keys or keys+jwt.",
};

export default function Keys() {
  const asked = useAsked("/v1/keys");
  return html`<${Shown} of=${asked}>${(/** @type {any} */ { mode, data }) => html`
    ${MODES[mode] && html`<p class="note">${MODES[mode]}</p>`}
    <${Create} again=${asked.again} /><${Listed} keys=${data} again=${asked.again} /><${Audit} />`}</${Shown}>`;
}

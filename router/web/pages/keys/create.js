// Making a key.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Secret } from "/ui/pages/keys/secret.js";
import { Came, useAct } from "/ui/parts/acting.js";
import { Choice, Field, NumberField, Section } from "/ui/parts/controls.js";

/** @type {[string, string][]} */
const SCOPES = [
  ["infer", "asks models"],
  ["read", "reads decisions, figures and System Health"],
  ["admin", "changes everything, keys too"],
];
/** @type {[string, string][]} */
const TIMES = [["", "for ever"], ["86400", "a day"], ["604800", "a week"], ["2592000", "30 days"], ["7776000", "90 days"], ["31536000", "a year"]];
const EMPTY = { name: "", scopes: ["infer", "read"], lasts: "7776000", requests_per_minute: /** @type {number | null} */ (null), tokens_per_minute: /** @type {number | null} */ (null), concurrency: /** @type {number | null} */ (null) };

/** @param {{again: () => void}} props */
export function Create({ again }) {
  const [draft, write] = useState(EMPTY);
  const [issued, show] = useState(/** @type {any} */ (null));
  const act = useAct();
  const set = (/** @type {object} */ part) => write((was) => ({ ...was, ...part }));
  const create = async (/** @type {Event} */ e) => {
    e.preventDefault();
    const made = await act.run(() => ask("POST", "/v1/keys", body(draft)));
    if (made) { show(made); write(EMPTY); again(); }
  };
  const turn = (/** @type {string} */ scope) => set({ scopes: draft.scopes.includes(scope) ? draft.scopes.filter((one) => one !== scope) : [...draft.scopes, scope] });
  const limit = (/** @type {"requests_per_minute" | "tokens_per_minute" | "concurrency"} */ name, /** @type {string} */ label) => html`
    <${NumberField} label=${label} min=${1} step=${1} placeholder="the configuration's" value=${draft[name]} onChange=${(/** @type {number | null} */ v) => set({ [name]: v })} />`;
  return html`<${Section} title="New key">
    ${issued && html`<${Secret} issued=${issued} onClose=${() => show(null)} />`}
    <form class="stack" onSubmit=${create}>
      <div class="row"><${Field} label="Name" says="A name is given once, for ever."><input required maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" title="Letters, digits, dots, dashes and underscores" autocomplete="off"
        value=${draft.name} onInput=${(/** @type {any} */ e) => set({ name: e.currentTarget.value })} /></${Field}>
        <${Choice} label="Works" value=${draft.lasts} options=${TIMES} onChange=${(/** @type {string} */ lasts) => set({ lasts })} /></div>
      <fieldset><legend>May</legend>${SCOPES.map(([scope, words]) => html`<label class="check"><input type="checkbox" checked=${draft.scopes.includes(scope)} onChange=${() => turn(scope)} /><span><b>${scope}</b>: ${words}</span></label>`)}</fieldset>
      <details><summary>Limits of its own</summary><div class="row">${limit("requests_per_minute", "Requests a minute")}${limit("tokens_per_minute", "Tokens a minute")}${limit("concurrency", "At once")}</div></details>
      <${Came} of=${act} />
      <button class="main" disabled=${act.busy || !draft.scopes.length}>Create the key</button>
    </form></${Section}>`;
}

/** @param {typeof EMPTY} draft */
function body({ lasts, ...draft }) {
  return { ...draft, expires_in_s: lasts ? Number(lasts) : null };
}

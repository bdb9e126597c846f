// Changing the catalogue only as it was seen: whoever was overtaken is told, and loses nothing.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { useAct } from "/ui/parts/acting.js";
import { Failure } from "/ui/parts/states.js";

/** A name as the last part of an address, with its slashes. @param {string} name */
export const inPath = (name) => name.split("/").map(encodeURIComponent).join("/");

/** Changes go to the snapshot that was seen when the form was opened, or last saved.
 * @param {any} catalog  @param {() => void} again */
export function useSaving(catalog, again) {
  const [seen, see] = useState(catalog.snapshot);
  const act = useAct();
  const [last, keep] = useState(/** @type {any} */ (null));
  const save = async (/** @type {string} */ method, /** @type {string} */ path, /** @type {unknown} */ body, /** @type {string} */ said, snapshot = seen) => {
    keep({ method, path, body, said });
    const answer = await act.run(() => sent(method, path, snapshot, body), (told) => sentence(told, said));
    if (answer) { see(answer.snapshot); again(); }
    return answer;
  };
  const force = async () => save(last.method, last.path, last.body, last.said, (await ask("GET", "/v1/catalog")).snapshot);
  const renew = async () => { const now = await ask("GET", "/v1/catalog"); see(now.snapshot); act.clear(); again(); return now; };
  return { act, save, force, renew, seen };
}

/** @param {string} method  @param {string} path  @param {string} snapshot  @param {unknown} body */
async function sent(method, path, snapshot, body) {
  try {
    return await ask(method, `${path}?snapshot=${snapshot}`, body);
  } catch (/** @type {any} */ error) {
    if (error.status === 409) error.overtaken = (await ask("GET", "/v1/catalog")).snapshot !== snapshot; // or else the name is taken
    throw error;
  }
}

/** @param {any} told  @param {string} said */
function sentence(told, said) {
  const warned = told.warnings.length ? ` Look at this: ${told.warnings.join(" ")}` : "";
  return `${told.changed ? said : "Nothing was different."} The catalogue is ${told.snapshot} now.${warned}`;
}

/** How saving went; where somebody else was faster, what can be done.
 * @param {{of: ReturnType<typeof useSaving>, onTheirs?: (catalog: any) => void}} props */
export function Saved({ of, onTheirs }) {
  const { act, force, renew } = of;
  const failed = (/** @type {any} */ error) => act.run(() => Promise.reject(error));
  if (!act.error?.overtaken) return html`<${Failure} error=${act.error} /><p class="came" role="status">${act.busy ? "Saving …" : act.said}</p>`;
  return html`<div class="failure" role="alert"><p>${act.error.message} Nothing was changed, and what you wrote is still here.</p>
    <button type="button" onClick=${() => renew().then((now) => onTheirs?.(now), failed)}>Show what is in force now</button>
    <button type="button" class="risky" onClick=${() => force().catch(failed)}>Save mine all the same</button></div>`;
}

// The places where a model can run, as a form.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Fields } from "/ui/pages/models/fields.js";
import { Prices } from "/ui/pages/models/prices.js";
import { Choice } from "/ui/parts/controls.js";

/** @type {Record<string, import("/ui/pages/models/fields.js").Spec[]>} */
const SPECS = {
  local: [
    { name: "source", label: "Weights", required: true, says: "A directory, package:NAME, or hub." },
    { name: "revision", label: "Revision" },
    { name: "head", label: "Set of intents", says: "Of a text classification that tells intents apart." },
  ],
  remote: [
    { name: "provider", label: "Far side", required: true, says: "A configured one, such as huggingface." },
    { name: "model", label: "Its name there", says: "Empty: the same as here." },
    { name: "deterministic", label: "The same request has the same answer there", kind: "flag" },
    { name: "continues", label: "Goes on from a begun answer", kind: "flag" },
  ],
  fake: [{ name: "provider", label: "Pretends to be" }],
};
/** @type {[string, string][]} */
const BACKENDS = [["local", "near: this machine"], ["remote", "far: over the network"], ["fake", "fake: for tests"]];

/** @param {{candidates: any[], error: any, onChange: (candidates: any[]) => void}} props */
export function Candidates({ candidates, error, onChange }) {
  const put = (/** @type {number} */ i, /** @type {any} */ one) => onChange(candidates.map((was, at) => (at === i ? one : was)));
  return html`${candidates.map((one, i) => html`<fieldset key=${i}><legend>Place ${i + 1}</legend>
      <${Choice} label="Runs" value=${one.backend} options=${BACKENDS} onChange=${(/** @type {string} */ backend) => put(i, { ...one, backend })} />
      <${Fields} specs=${SPECS[one.backend]} value=${one} error=${own(error, i)} onChange=${(/** @type {any} */ next) => put(i, next)} />
      ${one.backend !== "local" && html`<${Prices} price=${one.price} onChange=${(/** @type {any} */ price) => put(i, { ...one, price })} />`}
      <button type="button" class="risky" aria-label=${`Take it away: place ${i + 1}`} onClick=${() => onChange(candidates.filter((_, at) => at !== i))}>Take it away</button></fieldset>`)}
    <button type="button" onClick=${() => onChange([...candidates, { backend: "remote", provider: null }])}>Add a place</button>`;
}

/** An error of this place, as its form knows the field. @param {any} error  @param {number} i */
function own(error, i) {
  const start = `candidates[${i}].`;
  return error?.param?.startsWith(start) ? { param: error.param.slice(start.length), message: error.message } : null;
}

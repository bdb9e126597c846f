// What is asked of all candidates alike.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Field, NumberField } from "/ui/parts/controls.js";

/** @typedef {import("/ui/pages/compare/tasks.js").Given} Given */
/** @typedef {import("/ui/pages/compare/tasks.js").Task} Task */

/** @param {{task: Task, given: Given, onChange: (change: Partial<Given>) => void}} props */
export function Input({ task, given, onChange }) {
  const value = (/** @type {any} */ event) => event.currentTarget.value;
  const file = html`<input type="file" key=${task.task} accept=${task.accept} onChange=${(/** @type {any} */ e) => onChange({ file: e.currentTarget.files[0] ?? null })} />`;
  const text = html`<textarea rows="4" value=${given.text} onInput=${(/** @type {any} */ e) => onChange({ text: value(e) })}></textarea>`;
  return html`<${Field} label=${task.input}>${task.accept ? file : text}</${Field}>
    ${task.task === "zero-shot-classification" && html`<${Field} label="Labels" says="Separated by commas.">
      <input value=${given.labels} onInput=${(/** @type {any} */ e) => onChange({ labels: value(e) })} /></${Field}>`}
    <${Parameters} task=${task.task} given=${given} onChange=${onChange} />`;
}

/** @param {{task: string, given: Given, onChange: (change: Partial<Given>) => void}} props */
function Parameters({ task, given, onChange }) {
  const seed = html`<${NumberField} label="Seed" value=${given.seed} min=${0} step=${1} placeholder="by chance" onChange=${(/** @type {number | null} */ v) => onChange({ seed: v })} />`;
  if (task === "text-to-image") {
    return html`<div class="row"><${NumberField} label="Steps" value=${given.steps} min=${1} max=${1000} step=${1} placeholder="the model's own" onChange=${(/** @type {number | null} */ v) => onChange({ steps: v })} />${seed}</div>`;
  }
  if (task !== "text-generation") return null;
  return html`<div class="row">
    <${NumberField} label="Tokens, at most" value=${given.maxTokens} min=${1} step=${1} placeholder="256" onChange=${(/** @type {number | null} */ v) => onChange({ maxTokens: v })} />
    <${NumberField} label="Temperature" value=${given.temperature} min=${0} step="any" placeholder="the model's own" onChange=${(/** @type {number | null} */ v) => onChange({ temperature: v })} />${seed}</div>`;
}

// A set of intents as it is written: a name, labels with example texts, and texts that want none of it.
import { html, useRef } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Field, Section } from "/ui/parts/controls.js";
import { Stoppable, useRunning } from "/ui/parts/running.js";
import { Failure } from "/ui/parts/states.js";

/** Texts stand one a line. @typedef {{name: string, labels: {label: string, examples: string}[], unknown: string}} Draft */

/** @type {Draft} */
export const FIRST = { name: "desk", labels: [
  { label: "login", examples: ["reset my password", "I forgot my login", "my account is locked", "change the password"].join("\n") },
  { label: "printer", examples: ["the printer is jammed", "out of toner", "printing does not work", "paper stuck in the printer"].join("\n") },
], unknown: ["what is for lunch", "book a flight to Rome", "tell me a joke", "the weather tomorrow"].join("\n") };

/** A set of the server as a draft. @param {any} set  @returns {Draft} */
export function drafted({ name, intents, unknown }) {
  const labels = Object.entries(intents).map(([label, { examples }]) => ({ label, examples: examples.join("\n") }));
  return { name, labels, unknown: unknown.join("\n") };
}

/** @param {{draft: Draft, change: (fields: Partial<Draft>) => void, fitted: (set: any) => void}} props */
export function Definition({ draft, change, fitted }) {
  const running = useRunning();
  const last = useRef(/** @type {any} */ (null));
  const labels = draft.labels;
  const set = (/** @type {number} */ at, /** @type {object} */ fields) => change({ labels: labels.map((one, i) => (i === at ? { ...one, ...fields } : one)) });
  const drop = (/** @type {number} */ at) => { change({ labels: labels.filter((_, i) => i !== at) }); last.current?.focus(); };
  const fit = (/** @type {Event} */ e) => {
    e.preventDefault();
    running.run(async (signal) => fitted(await ask("POST", "/v1/intents", body(draft), { signal })));
  };
  return html`<${Section} title="Define a set"><form class="stack" onSubmit=${fit}>
    <${Field} label="Name of the set" says="A set of the same name is replaced. a-z, 0-9, '.', '_' and '-'."><input required maxlength="64" value=${draft.name} onInput=${(/** @type {any} */ e) => change({ name: e.currentTarget.value })} /></${Field}>
    <div class="grid">${labels.map((one, i) => html`<fieldset class="stack" key=${i}><legend>${`Label ${i + 1}`}</legend>
      <${Field} label=${`Label ${i + 1}`}><input required maxlength="128" value=${one.label} onInput=${(/** @type {any} */ e) => set(i, { label: e.currentTarget.value })} /></${Field}>
      <${Field} label=${`Examples of label ${i + 1}`} says="One a line, two at least."><textarea rows="4" required value=${one.examples} onInput=${(/** @type {any} */ e) => set(i, { examples: e.currentTarget.value })}></textarea></${Field}>
      <button type="button" disabled=${labels.length <= 2} onClick=${() => drop(i)}>${`Remove label ${i + 1}`}</button></fieldset>`)}</div>
    <div class="row"><button type="button" ref=${last} onClick=${() => change({ labels: [...labels, { label: "", examples: "" }] })}>Add a label</button></div>
    <${Field} label="Texts that are none of it" says="One a line; with some of them, 'unknown' is known better."><textarea rows="4" value=${draft.unknown} onInput=${(/** @type {any} */ e) => change({ unknown: e.currentTarget.value })}></textarea></${Field}>
    <div class="row"><button class="main">Fit</button><${Stoppable} of=${running} what="Fitting" /></div></form>
    <${Failure} error=${running.error} /></${Section}>`;
}

/** @param {Draft} draft @throws where a label stands twice: an object would silently keep one */
function body({ name, labels, unknown }) {
  const names = labels.map(({ label }) => label.trim());
  const twice = names.find((label, i) => names.indexOf(label) < i);
  if (twice !== undefined) throw new Error(`The label “${twice}” stands there twice; write its examples under one.`);
  return { name: name.trim(), intents: Object.fromEntries(labels.map(({ examples }, i) => [names[i], { examples: lines(examples) }])), unknown: lines(unknown) };
}

/** @param {string} text */
function lines(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

// Any of the API's questions, grouped by whatever it can be, with what each column means.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Section, Table } from "/ui/parts/controls.js";
import { Shown, useAsked } from "/ui/parts/states.js";
import { useQuestion } from "/ui/pages/dashboard/asking.js";

/** @typedef {import("/ui/pages/dashboard/asking.js").Looking} Looking */

/** @param {{looking: Looking}} props */
export function AnyQuestion({ looking }) {
  const [open, toggle] = useState(false);
  const known = useAsked(open ? "/v1/analytics/schema" : null);
  return html`<${Section} title="Any question"><details onToggle=${(/** @type {any} */ e) => toggle(e.currentTarget.open)}>
    <summary>Ask another way</summary>
    ${open && html`<${Shown} of=${known}>${(/** @type {any} */ { questions }) => html`<${Asking} questions=${questions} looking=${looking} />`}</${Shown}>`}
  </details></${Section}>`;
}

/** @param {{questions: Record<string, any>, looking: Looking}} props */
function Asking({ questions, looking }) {
  const [name, ask] = useState(Object.keys(questions)[0]);
  const [by, group] = useState(questions[name].by[0]);
  const [step, walk] = useState("");
  const choose = (/** @type {string} */ chosen) => { ask(chosen); group(questions[chosen].by[0]); walk(""); };
  const steps = questions[name].steps ? ["auto", "minute", "hour", "day"] : [];
  return html`<div class="row">
      <${Choice} label="Question" value=${name} options=${Object.keys(questions)} onChange=${choose} />
      <${Choice} label="By" value=${by} options=${questions[name].by} onChange=${group} />
      ${steps.length > 0 && html`<${Choice} label="Step" value=${step} options=${[["", "as it is"], ...steps]} onChange=${walk} />`}
    </div><p>${questions[name].says}</p>
    <${Answer} key=${`${name} ${by} ${step}`} name=${name} more=${step ? { by, step } : { by }} looking=${looking} />`;
}

/** @param {{name: string, more: Record<string, string>, looking: Looking}} props */
function Answer({ name, more, looking }) {
  const asked = useQuestion(name, looking, more);
  return html`<${Shown} of=${asked}>${(/** @type {any} */ { rows, columns }) => {
    const names = Object.keys(rows[0] ?? {});
    return html`<${Table} caption=${`The answer to “${name}”, as the API gives it`} columns=${names} rows=${rows.map((/** @type {any} */ row) => names.map((column) => plain(row[column])))} empty="Nothing in this range." />
      <details><summary>What its columns mean</summary><dl class="facts wide">${Object.entries(columns).map(([column, says]) => html`<div><dt><code>${column}</code></dt><dd>${says}</dd></div>`)}</dl></details>`;
  }}</${Shown}>`;
}

/** @param {any} value */
function plain(value) {
  if (value === null || value === undefined) return html`<span class="quiet">null</span>`;
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)).toString() : String(value);
}

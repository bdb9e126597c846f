// One candidate's answer, by task. What models wrote is text, and is shown as text.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { UNKNOWN, percent } from "/ui/parts/format.js";
import { cosine } from "/ui/pages/compare/numbers.js";

/** @typedef {import("/ui/pages/compare/asking.js").Column} Column */

/** @param {{column: Column, task: string, input: string, lines: string[]}} props */
export function Answer({ column, task, input, lines }) {
  const { result } = column;
  if (task === "text-generation") return html`<${Words} text=${result?.[0]?.generated_text ?? column.text} />`;
  if (task === "automatic-speech-recognition") return html`<${Words} text=${result?.text ?? column.text} />`;
  if (task === "text-to-image" && !result) return html`<${Steps} of=${column.progress} />`;
  if (!result) return null;
  if (task === "text-to-image") return html`<img class="made" src=${`data:image/png;base64,${[result].flat()[0].image}`} alt=${input} />`;
  if (task === "feature-extraction") return html`<${Vectors} rows=${result} lines=${lines} />`;
  /** @type {{label: string, score: number}[]} */
  const labels = task === "zero-shot-classification" ? result.labels.map((/** @type {string} */ label, /** @type {number} */ i) => ({ label, score: result.scores[i] })) : result;
  return html`<ol class="labels">${labels.map(({ label, score }) => html`<li><span>${label}</span> ${percent(score, 1)}
    <div class="bar" aria-hidden="true"><span style=${{ width: `${Math.max(0, Math.min(1, score)) * 100}%` }}></span></div></li>`)}</ol>`;
}

/** @param {{text: string}} props */
function Words({ text }) {
  return text && html`<div class="said" tabindex="0" role="group" aria-label="The answer's words">${text}</div>`;
}

/** @param {{of: {step: number, steps: number} | null}} props */
function Steps({ of }) {
  return of && html`<label class="field"><span class="name">Step ${of.step} of ${of.steps}</span><progress value=${of.step} max=${of.steps}></progress></label>`;
}

/** @param {{rows: number[][], lines: string[]}} props */
function Vectors({ rows, lines }) {
  const alike = (/** @type {number[]} */ row) => { const found = cosine(rows[0], row); return found === null ? UNKNOWN : found.toFixed(3); };
  return html`<p>${rows.length} ${rows.length === 1 ? "vector" : "vectors"} of ${rows[0].length} numbers.</p>
    ${rows.length > 1 && html`<p class="quiet">How alike each is to the first line (cosine):</p>
    <ol class="labels" start="2">${rows.slice(1).map((row, i) => html`<li><span>${lines[i + 1]}</span> ${alike(row)}</li>`)}</ol>`}`;
}

// The answers side by side: what each says, its figures, and what went wrong in it alone.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Chip } from "/ui/parts/controls.js";
import { UNKNOWN, latency, money } from "/ui/parts/format.js";
import { Failure } from "/ui/parts/states.js";
import { Answer } from "/ui/pages/compare/answer.js";
import { named } from "/ui/pages/compare/candidates.js";

/** @typedef {import("/ui/pages/compare/asking.js").Column} Column */
/** @typedef {import("/ui/pages/compare/tasks.js").Task} Task */

const STATES = { waiting: "Waits for its turn", asked: "Answering …", done: "Done", failed: "Failed", stopped: "Stopped" };

/** "Answer A" and so on: what a column is called while nobody may know whose it is. @param {number} index */
export function letter(index) {
  return `Answer ${"ABCD"[index]}`;
}

/** @param {{columns: Column[], task: Task, input: string, lines: string[], hidden: boolean, held: boolean, stop: (index: number) => void, vote: (index: number) => any}} props
 * `hidden`: nothing may say who is who; `held`: nor may the pace of their words */
export function Columns({ columns, hidden, ...more }) {
  return html`<div class="columns">${columns.map((column, index) => {
    const title = hidden ? letter(index) : named(column.candidate);
    return html`<section class="column" key=${index} aria-label=${title}><h3>${title}</h3><${Inner} column=${column} index=${index} hidden=${hidden} ...${more} /></section>`;
  })}</div>`;
}

/** @param {{column: Column, index: number, task: Task, input: string, lines: string[], hidden: boolean, held: boolean, stop: (index: number) => void, vote: (index: number) => any}} props */
function Inner({ column, index, task, input, lines, hidden, held, stop, vote }) {
  const running = column.state === "asked" || column.state === "waiting";
  const part = !running && column.state !== "done" && column.text;
  if (held) return html`<p class="quiet">Shown when all have ended.</p>`;
  return html`<p class="row progressed"><span class="quiet">${STATES[column.state]}</span>
      ${running && html`<button type="button" aria-label=${`Stop ${hidden ? letter(index) : named(column.candidate)}`} onClick=${() => stop(index)}>Stop</button>`}</p>
    ${column.state === "failed" && html`<${Failure} error=${hidden ? "It failed. Why is shown with its name." : column.problem} />`}
    ${part && html`<p class="partly">Broken off: this is not the whole answer.</p>`}
    <${Answer} column=${column} task=${task.task} input=${input} lines=${lines} />
    ${!hidden && html`<${Figures} column=${column} task=${task} />`}
    ${vote(index)}`;
}

/** @param {{column: Column, task: Task}} props */
function Figures({ column, task }) {
  const { answer, candidate, decisionId } = column;
  const by = answer?.attempts.at(-1)?.candidate ?? candidate.id;
  const expected = answer?.slate?.candidates.find((/** @type {any} */ one) => one.candidate === candidate.id);
  const done = column.state === "done";
  const value = (/** @type {string} */ text) => (done ? text : text === UNKNOWN ? "—" : text);
  return html`${by !== candidate.id && html`<p class="partly">Answered by ${by} instead: these figures are not those of ${candidate.id}.</p>`}
    <dl class="figures">
      ${task.words && html`<dt>First token</dt><dd>${value(latency(column.firstMs))}</dd>`}
      <dt>Total</dt><dd>${value(latency(column.totalMs))}${expected && html` <small>expected ${latency(expected.latency_ms)}</small>`}</dd>
      ${task.task === "text-generation" && html`<dt>Tokens/s</dt><dd>${value(speed(column.tokensPerS))}${column.tokens !== null && html` <small>${column.tokens} tokens</small>`}</dd>`}
      <dt>Cost</dt><dd>${value(money(answer?.cost_usd))}${answer && html` <small>${answer.cost_source}</small>`}</dd>
    </dl>
    ${done ? html`<${Chip} backend=${answer.backend} model=${answer.model} latencyMs=${answer.latency_ms} costUsd=${answer.cost_usd} decisionId=${decisionId} reason=${answer.reason} />`
      : decisionId && html`<a href=${`#/decisions/${decisionId}`}>Its decision</a>`}`;
}

/** @param {number | null} perS */
export function speed(perS) {
  return perS === null ? UNKNOWN : perS.toFixed(perS < 10 ? 1 : 0);
}

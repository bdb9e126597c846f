// The verdict on each policy: figures with their intervals, or why there are none.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { count, instant, latency, money, percent, UNKNOWN } from "/ui/parts/format.js";

const QUANTITIES = /** @type {Record<string, string>} */ ({ price: "price per request", errors: "errors", quality: "quality", deadline_misses: "deadline misses" });
const METHODS = /** @type {Record<string, string>} */ ({
  observed: "observed: it does what the log did", dr: "doubly robust", snips: "self-normalised weights (SNIPS)", ips: "weights (IPS)",
  paired: "shadows, pair by pair", events: "the traffic simulated once more",
});
const FORMATS = /** @type {Record<string, (value: number | null) => string>} */ ({ usd: money, ms: latency, share: (v) => percent(v, 1), score: (v) => (v === null ? UNKNOWN : v.toFixed(3)) });
const COLUMNS = ["quantity", "estimate", "95 % interval", "in the log", "difference", "method", "rests on"];

/** @param {{answer: any, asked: any}} props */
export function Verdicts({ answer, asked }) {
  return html`<${Section} title="The window">
      <p>${count(answer.requests)} of ${count(answer.held)} decisions were replayed${answer.since && html`, from ${instant(answer.since)} to ${instant(answer.until)}`}. What belongs together: one ${answer.clustered_by}.</p>
      ${answer.warnings.length > 0 && html`<h3>Before you believe it</h3><ul class="warnings">${answer.warnings.map((/** @type {string} */ said) => html`<li>${capital(said)}.</li>`)}</ul>`}
    </${Section}>
    ${answer.verdicts.map((/** @type {any} */ one) => html`<${Verdict} verdict=${one} asked=${one.policy === asked.policy} />`)}`;
}

/** @param {{verdict: any, asked: boolean}} props */
function Verdict({ verdict, asked }) {
  const { policy, version, agreement, figures, others } = verdict;
  const title = `${policy}${version ? ` (${version})` : ""}${asked ? "" : ", for comparison"}`;
  return html`<${Section} title=${title}>
    ${agreement !== null && html`<p>At ${percent(agreement, 1)} of the requests it puts first whom the log did.</p>`}
    <${Table} caption=${`What ${policy} would have cost and taken`} columns=${COLUMNS} rows=${figures.map(row)} notes=${figures.map(note)} />
    ${others.length > 0 && html`<details><summary>What other methods say</summary><${Table} caption=${`${policy}, by other methods`} columns=${COLUMNS} rows=${others.map(row)} notes=${others.map(note)} /></details>`}
  </${Section}>`;
}

/** @param {any} figure */
function row(figure) {
  const format = FORMATS[figure.unit];
  const said = figure.estimate !== null;
  return [
    html`<b>${QUANTITIES[figure.quantity] ?? figure.quantity.replace("_", " ")}</b>`,
    said ? html`<b>${format(figure.estimate)}</b>` : html`<span class="quiet">no figure</span>`,
    said ? html`${between(figure.low, figure.high, format)}<${Whisker} figure=${figure} />${figure.anytime && html`<small>holds at every look</small>`}` : "",
    html`${format(figure.observed)}${figure.observed_low !== null && html`<br /><small>${between(figure.observed_low, figure.observed_high, format)}</small>`}`,
    said && figure.difference !== null ? html`${signed(figure.difference, format)}<br /><small>${between(figure.difference_low, figure.difference_high, format)}</small>` : "",
    METHODS[figure.method] ?? figure.method,
    html`${count(figure.n)} requests${figure.ess !== null && `, worth ${count(Math.round(figure.ess))}`}, ${count(figure.clusters)} groups${figure.missing > 0 && `, ${count(figure.missing)} unknown`}`,
  ];
}

/** Whether to believe it. @param {any} figure */
function note({ refusal, warnings }) {
  if (refusal) return html`<b>No:</b> ${refusal}.`;
  return warnings.length ? warnings.map((/** @type {string} */ said) => `${capital(said)}.`).join(" ") : "Nothing speaks against it.";
}

/** The interval as a bar, with a line for the estimate and a dot for what the log had. @param {{figure: any}} props */
function Whisker({ figure }) {
  const { estimate, low, high, observed } = figure;
  if (low === null || high === null) return null;
  const most = 1.05 * Math.max(high, estimate, observed ?? 0);
  if (!(most > 0)) return null;
  const at = (/** @type {number} */ value) => `${Math.max(0, Math.min(100, (value / most) * 100))}%`;
  return html`<div class="range whisker" aria-hidden="true"><span class="likely" style=${{ left: at(low), width: at(high - low) }}></span><span class="seen" style=${{ left: at(estimate) }}></span>
    ${observed !== null && html`<span class="logged" style=${{ left: at(observed) }}></span>`}</div>`;
}

/** @param {number | null} low  @param {number | null} high  @param {(value: number | null) => string} format */
function between(low, high, format) {
  return low === null || high === null ? "no interval" : `${signed(low, format)} to ${signed(high, format)}`;
}

/** @param {number} value  @param {(value: number | null) => string} format */
function signed(value, format) {
  return value < 0 ? `−${format(-value)}` : format(value);
}

/** @param {string} text */
function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

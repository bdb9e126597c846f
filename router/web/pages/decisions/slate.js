// Everybody who could have answered: what was predicted, what became of it, and why not.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Table } from "/ui/parts/controls.js";
import { latency, money, percent, UNKNOWN } from "/ui/parts/format.js";

const COLUMNS = ["candidate", "where", "verdict", "predicted p50", "p95", "took", "predicted cost", "cost", "quality", "score", "chance"];

/** @param {{decision: any}} props */
export function Slate({ decision }) {
  const told = decision.explanation.candidates;
  const rows = told.map((/** @type {any} */ c) => row(c, decision.candidates.find((/** @type {any} */ one) => one.candidate_id === c.candidate)));
  return html`<${Table} caption="What was predicted of each candidate, against what happened where it was asked" columns=${COLUMNS} rows=${rows} notes=${told.map((/** @type {any} */ c) => c.words)}
    empty="No candidate was looked at: the request was refused before." />`;
}

/** @param {any} c a candidate in words  @param {any} seen its row in the log */
function row(c, seen) {
  const where = seen?.backend === "browser" ? "browser" : c.near === null ? UNKNOWN : c.near ? "near" : "far";
  const rejected = c.verdict === "rejected";
  return [
    html`<b>${c.candidate}</b>${seen && html`<br /><small>${about(seen)}</small>`}`,
    html`<span class=${`side ${where}`}>${where}</span>`,
    html`<span class=${`verdict ${c.verdict}`}>${c.verdict}</span>${c.code && html`<br /><small>${c.code.replaceAll("_", " ")}</small>`}`,
    html`${latency(c.predicted_ms)}${seen?.pred_source && html`<br /><small>${seen.pred_source}</small>`}`,
    latency(c.predicted_p95_ms),
    c.measured_ms === null ? html`<span class="quiet">no answer</span>` : latency(c.measured_ms),
    html`${money(c.predicted_cost_usd)}${seen?.pred_cost_source && html`<br /><small>${seen.pred_cost_source}</small>`}`,
    c.measured_ms === null ? html`<span class="quiet">none</span>` : money(c.measured_usd),
    c.predicted_quality === null ? UNKNOWN : percent(c.predicted_quality),
    rejected ? html`<span class="quiet">none</span>` : figure(c.score),
    rejected ? html`<span class="quiet">none</span>` : percent(c.propensity, 1),
  ];
}

/** @param {any} seen */
function about(seen) {
  const parts = [seen.device, seen.warm ? "loaded" : `not loaded (${latency(seen.load_ms)})`, seen.queued ? `${seen.queued} waiting` : ""];
  return parts.filter(Boolean).join(", ");
}

/** @param {number | null} value in the policy's own unit */
function figure(value) {
  return value === null ? UNKNOWN : Number(value.toPrecision(4)).toString();
}

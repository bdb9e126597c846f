// Whether predictions can be believed: how often what happened stayed within the predicted quantiles.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { TimeChart } from "/ui/parts/chart.js";
import { Section, Table } from "/ui/parts/controls.js";
import { count, percent, side, UNKNOWN } from "/ui/parts/format.js";
import { Shown } from "/ui/parts/states.js";
import { overTime, useQuestion } from "/ui/pages/dashboard/asking.js";

const COLUMNS = ["candidate", "compared", "within p50 (aim 50 %)", "within p90", "within p95", "within p99", "median error", "bias"];

/** @param {{looking: import("/ui/pages/dashboard/asking.js").Looking, onZoom: (from: number, to: number) => void}} props */
export function Coverage({ looking, onZoom }) {
  const steps = useQuestion("estimate-error", looking, { by: "backend", step: "auto" });
  const whole = useQuestion("estimate-error", looking, { by: "candidate" });
  return html`<${Section} title="Prediction coverage">
    <p class="quiet">Of all answers, 50 % should take no longer than the predicted median, and 95 % no longer than the predicted 95th percentile.</p>
    <${Shown} of=${steps}>${(/** @type {any} */ answer) => html`<${TimeChart} title="Within the predicted p50 and p95" ...${lines(answer)} format=${share} onZoom=${onZoom} />`}</${Shown}>
    <${Shown} of=${whole}>${(/** @type {any} */ answer) => html`<${Table} caption="By candidate" columns=${COLUMNS} rows=${answer.rows.map(row)} empty="No prediction can be compared yet." />`}</${Shown}>
  </${Section}>`;
}

/** @param {any} answer */
function lines(answer) {
  const [p50, p95] = ["within_p50", "within_p95"].map((column) => overTime(answer, "backend", column));
  const named = (/** @type {string | null} */ group, /** @type {string} */ of) => `${group === null ? "nobody" : side(group)} ${of}`;
  return { xs: p50.xs, lines: p50.groups.flatMap((group) => [
    { name: named(group, "p50"), values: p50.values(group) }, { name: named(group, "p95"), values: p95.values(group), dashed: true }]) };
}

/** @param {number | null} value */
function share(value) {
  return percent(value);
}

/** @param {any} r */
function row(r) {
  return [r.candidate, count(r.n), ...[50, 90, 95, 99].map((q) => percent(r[`within_p${q}`])), percent(r.median_error),
    r.bias === null ? UNKNOWN : r.bias > 0 ? `${percent(r.bias)} slower` : `${percent(-r.bias)} faster`];
}

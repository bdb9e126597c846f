// The comparisons that this server ran (`nearfar compare`, POST /v1/compare): how far each is, and what it says.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Section, Table } from "/ui/parts/controls.js";
import { UNKNOWN, count, instant, latency, money, percent } from "/ui/parts/format.js";
import { Failure, Shown, useAsked } from "/ui/parts/states.js";

/** @typedef {{value: number, low: number | null, high: number | null} | null | undefined} Bounds */
/** @typedef {{id: string, suite: string, task: string, status: string, planned: number, finished: number, candidates: string[], started_at: string, stopped: string | null}} Told */
/** @typedef {{load: number, candidate: string, trials: number, answered: number, latency_s: Record<string, Bounds>, requests_per_s: Bounds, cost_usd: Bounds, unknown_cost: number, quality: Bounds}} Figures */

const OFTEN_MS = 3000;
const SELDOM_MS = 30_000;

export function ServerRuns() {
  const [often, look] = useState(false);
  const runs = useAsked("/v1/compare", { everyMs: often ? OFTEN_MS : SELDOM_MS });
  const [open, show] = useState("");
  const [trouble, fail] = useState(/** @type {unknown} */ (null));
  const running = (runs.data?.data ?? []).some((/** @type {Told} */ run) => run.status === "running");
  if (running !== often) look(running);
  const cancel = (/** @type {Told} */ run) => ask("DELETE", `/v1/compare/${run.id}`).then(() => { fail(null); runs.again(); }, fail);
  const row = (/** @type {Told} */ run) => [
    run.suite, run.task, instant(run.started_at), run.candidates.length, `${count(run.finished)} of ${count(run.planned)}`, run.status,
    html`<div class="row"><button type="button" aria-expanded=${run.id === open} aria-label=${`Findings of ${run.suite}, ${instant(run.started_at)}`} onClick=${() => show(run.id === open ? "" : run.id)}>Findings</button>
      ${run.status === "running" && html`<button type="button" class="risky" aria-label=${`Cancel ${run.suite}`} onClick=${() => cancel(run)}>Cancel</button>`}</div>`,
  ];
  return html`<${Section} title="Comparisons of this server">
    <p class="quiet">Run by <code>nearfar compare</code> or <code>POST /v1/compare</code>: many inputs, shuffled and repeated, with intervals and tests. They are in the decision log.</p>
    <${Failure} error=${trouble} />
    <${Shown} of=${runs}>${(/** @type {{data: Told[]}} */ { data }) => html`
      <${Table} caption="Comparisons of this server, newest first" columns=${["suite", "task", "when", "candidates", "trials", "state", "actions"]} rows=${data.map(row)} empty="No comparison yet: run a suite." />
      ${data.some((run) => run.id === open) && html`<${Findings} key=${open} id=${open} running=${data.some((run) => run.id === open && run.status === "running")} />`}`}</${Shown}></${Section}>`;
}

/** @param {{id: string, running: boolean}} props */
function Findings({ id, running }) {
  const found = useAsked(`/v1/compare/${encodeURIComponent(id)}`, { everyMs: running ? OFTEN_MS : undefined });
  return html`<${Shown} of=${found}>${(/** @type {any} */ run) => html`<h3>${run.suite}</h3>
    ${run.stopped && html`<p>Stopped: ${run.stopped}</p>`}
    <${Table} caption=${`What ${run.suite} measured, with 95 % intervals`} columns=${["candidate", "load", "answered", "p50", "p99", "requests/s", "cost of 1,000", "quality"]}
      rows=${run.report.figures.map((/** @type {Figures} */ one) => measured(one, run.report.run.loads[one.load]))} empty="Nothing has counted yet." />
    <h4>What it says</h4>
    ${run.report.verdicts.length ? html`<ul>${run.report.verdicts.map((/** @type {string} */ said) => html`<li>${said}</li>`)}</ul>` : html`<p class="empty">Nothing yet.</p>`}
    ${run.report.doubts.length > 0 && html`<h4>Before you believe it</h4><ul>${run.report.doubts.map((/** @type {{words: string}} */ doubt) => html`<li>${doubt.words}</li>`)}</ul>`}
    <details><summary>How this is known</summary><p>${run.report.method}</p></details>`}</${Shown}>`;
}

/** @param {Figures} one  @param {{design: string, concurrency?: number, rate_per_s?: number}} load */
function measured(one, load) {
  const ms = (/** @type {number} */ s) => latency(1000 * s);
  const cost = between(one.cost_usd, (usd) => money(1000 * usd));
  return [
    one.candidate, load.design === "closed" ? `${load.concurrency} callers` : `${load.rate_per_s} requests/s`, `${count(one.answered)} of ${count(one.trials)}`,
    between(one.latency_s.p50, ms), between(one.latency_s.p99, ms), between(one.requests_per_s, (rate) => count(Number(rate.toPrecision(3)))),
    one.cost_usd && one.unknown_cost ? `${cost}, ${one.unknown_cost} unknown` : cost, between(one.quality, (share) => percent(share, 1)),
  ];
}

/** A figure with its interval; an end that nobody knows is left open. @param {Bounds} bounds  @param {(value: number) => string} format */
function between(bounds, format) {
  if (!bounds) return UNKNOWN;
  const { value, low, high } = bounds;
  const known = (/** @type {number | null} */ end) => (end === null ? null : format(end));
  const [least, most] = [known(low), known(high)];
  if (least && most) return `${format(value)} (${least} to ${most})`;
  return least ? `${format(value)} (${least} or more)` : most ? `${format(value)} (up to ${most})` : format(value);
}

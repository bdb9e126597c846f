// What deciding saved, what would have been better, when near pays, and who served: each a table, as the log tells it.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { count, latency, money, percent, UNKNOWN } from "/ui/parts/format.js";
import { Shown } from "/ui/parts/states.js";
import { useQuestion } from "/ui/pages/dashboard/asking.js";

/** @typedef {{looking: import("/ui/pages/dashboard/asking.js").Looking}} Props */

const SAVED = ["against", "saved money", "95 % interval", "saved time", "95 % interval", "priced", "left out"];
const MODELS = ["model", "candidate", "share", "requests", "failed", "p50", "p95", "first token", "tokens/s", "cost", "per request"];
const REGRET = ["policy", "judged", "regret, time", "per decision", "p95", "faster elsewhere", "regret, money", "per decision", "cheaper elsewhere", "better in both", "prediction off by"];
const BREAK_EVEN = ["model", "near an hour", "far a request", "near pays above", "now asked", "device needed", "now busy"];

/** @param {Props} props */
export function Savings({ looking }) {
  const asked = useQuestion("savings", looking);
  const row = (/** @type {any} */ r) => [r.baseline, signed(r.saved_usd, money), interval(r.saved_usd_low, r.saved_usd_high, money),
    signed(r.saved_s, seconds), interval(r.saved_s_low, r.saved_s_high, seconds), count(r.priced), count(r.left_out)];
  return html`<${Section} title="Savings"><${Shown} of=${asked}>${(/** @type {any} */ answer) => html`
    <${Table} caption="What deciding saved against simple ways to decide; below 0, we paid or waited more" columns=${SAVED} rows=${answer.rows.map(row)} empty="Nothing to compare in this range." />
    <p class="quiet">${answer.note}</p>`}</${Shown}></${Section}>`;
}

/** @param {Props} props */
export function Models({ looking }) {
  const asked = useQuestion("models", looking);
  const row = (/** @type {any} */ r) => [r.model ?? "none", r.candidate ?? "nobody", html`<${Share} of=${r.share} />`, count(r.requests), count(r.errors), latency(r.p50_ms), latency(r.p95_ms),
    r.first_token_p50_ms === null ? "not streamed" : latency(r.first_token_p50_ms), r.tokens_per_s === null ? "none" : r.tokens_per_s.toFixed(1), money(r.cost_usd), money(r.cost_per_request_usd)];
  return html`<${Section} title="Top models"><${Shown} of=${asked}>${(/** @type {any} */ { rows }) => html`
    <${Table} caption="Models and who served them, the most asked first" columns=${MODELS} rows=${[...rows].sort((a, b) => b.requests - a.requests).map(row)} empty="Nothing in this range." />`}</${Shown}></${Section}>`;
}

/** @param {Props} props */
export function Regret({ looking }) {
  const asked = useQuestion("regret", looking);
  const row = (/** @type {any} */ r) => [r.policy ?? "none", count(r.decisions), seconds(r.total_s), seconds(r.mean_s), seconds(r.p95_s), percent(r.faster_elsewhere),
    money(r.total_usd), money(r.mean_usd), percent(r.cheaper_elsewhere), percent(r.better_elsewhere), percent(r.estimate_error)];
  return html`<${Section} title="Regret"><${Shown} of=${asked}>${(/** @type {any} */ answer) => html`
    <${Table} caption="What the best other candidate would have saved, in hindsight" columns=${REGRET} rows=${answer.rows.map(row)} empty="No answered decision with a slate in this range." />
    <p class="quiet">${answer.note}</p>`}</${Shown}></${Section}>`;
}

/** @param {Props} props */
export function BreakEven({ looking }) {
  const asked = useQuestion("break-even", looking);
  const row = (/** @type {any} */ r) => [r.model ?? "none", money(r.rate_usd_per_hour), money(r.far_usd_per_request), hourly(r.break_even_per_hour), hourly(r.requests_per_hour),
    html`${percent(r.break_even_utilisation, 1)}${r.break_even_utilisation > 1 && " (never)"}`, percent(r.utilisation, 1)];
  return html`<${Section} title="Break-even"><${Shown} of=${asked}>${(/** @type {any} */ answer) => html`
    <${Table} caption="How busy this machine must be before near is cheaper than far" columns=${BREAK_EVEN} rows=${answer.rows.map(row)} empty="Nothing ran near or has a far price in this range." />
    <p class="quiet">${answer.formula}</p>`}</${Shown}></${Section}>`;
}

/** @param {{of: number | null}} props */
function Share({ of }) {
  return html`${percent(of)}<div class="bar" aria-hidden="true"><span style=${{ width: `${(of ?? 0) * 100}%` }}></span></div>`;
}

/** @param {number | null} s */
function seconds(s) {
  return s === null ? UNKNOWN : `${s < 0 ? "−" : ""}${latency(Math.abs(s) * 1000)}`;
}

/** @param {number | null} n */
function hourly(n) {
  return n === null ? UNKNOWN : `${Number(n.toPrecision(3)).toLocaleString("en")} an hour`;
}

/** @param {number | null} value  @param {(value: number | null) => string} format */
function signed(value, format) {
  return html`<b class=${value !== null && value < 0 ? "loss" : ""}>${format(value)}</b>`;
}

/** @param {number | null} low  @param {number | null} high  @param {(value: number | null) => string} format */
function interval(low, high, format) {
  return low === null || high === null ? html`<span class="quiet">too few to tell</span>` : `${format(low)} to ${format(high)}`;
}

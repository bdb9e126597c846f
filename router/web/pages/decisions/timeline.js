// The attempts of one request, one under the other, each where it began. Its words say the same to whoever cannot see it.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Table } from "/ui/parts/controls.js";
import { count, latency, money, percent, UNKNOWN } from "/ui/parts/format.js";

const PARTS = /** @type {[string, string][]} */ ([["queue_ms", "waiting"], ["load_ms", "loading"], ["pre_ms", "preparing"], ["service_ms", "working"], ["post_ms", "finishing"]]);
const COLUMNS = ["attempt", "candidate", "role", "status", "began after", "took", "its parts", "first token", "tokens in/out", "cost", "error"];

/** @param {{decision: any}} props */
export function Timeline({ decision }) {
  const { words, attempts } = decision.explanation.happened;
  if (!attempts.length) return html`<p>${words}</p><p class="empty">Nobody was asked.</p>`;
  const rows = new Map(decision.attempts.map((/** @type {any} */ a) => [a.attempt, a]));
  const ends = attempts.map((/** @type {any} */ a) => (a.start_ms ?? 0) + (a.took_ms ?? 0));
  const total = Math.max(decision.latency_ms ?? 0, ...ends, 0.001);
  return html`<p>${words}</p>
    <ol class="timeline">${attempts.map((/** @type {any} */ a) => html`<li><${Bar} attempt=${a} total=${total} /><span>${a.words}</span></li>`)}</ol>
    <p class="axis" aria-hidden="true"><span>0</span><span>${latency(total / 2)}</span><span>${latency(total)}</span></p>
    <p class="quiet">From the decision until the last attempt ended: ${latency(total)}. ${overhead(decision)}</p>
    <details><summary>Attempts as a table</summary>
      <${Table} caption="Attempts in the order in which they began" columns=${COLUMNS} rows=${attempts.map((/** @type {any} */ a) => row(a, rows.get(a.attempt)))} /></details>`;
}

/** @param {{attempt: any, total: number}} props */
function Bar({ attempt, total }) {
  if (attempt.start_ms === null || attempt.took_ms === null) return html`<small>its time is not known</small>`;
  const share = (/** @type {number} */ ms) => `${Math.min(100, Math.max(0, (ms / total) * 100))}%`;
  const style = { marginLeft: share(attempt.start_ms), width: share(attempt.took_ms) };
  return html`<div class="track" aria-hidden="true"><span class=${`attempt ${attempt.status} ${attempt.won ? "won" : ""}`} style=${style}></span></div>`;
}

/** @param {any} decision */
function overhead(decision) {
  return decision.overhead_ms === null || decision.status === "open" ? "" : `Of its latency, ${latency(decision.overhead_ms)} were the router's own.`;
}

/** @param {any} said  @param {any} seen its row in the log */
function row(said, seen) {
  const parts = PARTS.filter(([name]) => seen?.[name]).map(([name, what]) => `${latency(seen[name])} ${what}`);
  return [
    said.attempt, said.candidate, html`${said.role}${said.won && " (answered)"}`,
    html`<span class=${`status ${said.status}`}>${said.status}</span>`, latency(said.start_ms),
    html`${seen?.censored ? "at least " : ""}${latency(said.took_ms)}`, parts.join(", ") || UNKNOWN,
    said.first_token_ms === null ? "none" : latency(said.first_token_ms),
    `${count(seen?.prompt_tokens)} / ${count(seen?.completion_tokens)}`,
    html`${money(said.cost_usd)}${said.cost_source && html` <small>${said.cost_source}</small>`}${extra(said, seen)}`,
    said.error_class ? html`<b>${said.error_class}</b>: ${seen?.error ?? ""}` : "none",
  ];
}

/** @param {any} said  @param {any} seen */
function extra(said, seen) {
  const parts = [
    seen?.replica && `server ${seen.replica}`,
    seen?.energy_j && `${seen.energy_j.toPrecision(3)} J (${seen.energy_source})`,
    seen?.carbon_g && `${seen.carbon_g.toPrecision(3)} g CO₂`,
    said.confidence !== null && `${percent(said.confidence)} sure`,
    said.agreement !== null && `agreement ${percent(said.agreement)}`,
  ].filter(Boolean);
  return parts.length > 0 && html`<br /><small>${parts.join(", ")}</small>`;
}

// How far the prediction was from the truth, and what would have been better.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { latency, money, percent, UNKNOWN } from "/ui/parts/format.js";

/** @param {{guess: any}} props */
export function Predicted({ guess }) {
  if (!guess) return html`<p class="empty">Nothing was predicted of whoever was asked.</p>`;
  const observed = html`${guess.at_least && "at least "}${latency(guess.observed_ms)}`;
  return html`<p>${guess.words}</p><${Range} guess=${guess} />
    <dl class="facts">
      <dt>Predicted</dt><dd>${latency(guess.predicted_ms)} (p90 ${latency(guess.p90_ms)}, p95 ${latency(guess.p95_ms)}, p99 ${latency(guess.p99_ms)})</dd>
      <dt>Observed</dt><dd>${observed}${guess.within && `, ${guess.within === "beyond" ? "beyond all of them" : `within ${guess.within}`}`}</dd>
      <dt>Off by</dt><dd>${guess.off_by === null ? UNKNOWN : percent(guess.off_by)}</dd>
      ${guess.first_token_predicted_ms !== null && html`<dt>First token</dt><dd>${latency(guess.first_token_predicted_ms)} predicted (p95 ${latency(guess.first_token_p95_ms)}), ${latency(guess.first_token_observed_ms)} observed</dd>`}
      <dt>Cost</dt><dd>${money(guess.predicted_cost_usd)} predicted, ${money(guess.cost_usd)} ${guess.cost_source ? `(${guess.cost_source})` : ""}</dd>
      <dt>Rests on</dt><dd>${guess.source ?? UNKNOWN}</dd>
    </dl>`;
}

/** The predicted range with a mark where the truth was. @param {{guess: any}} props */
function Range({ guess }) {
  const { predicted_ms: low, p95_ms: high, p99_ms: end, observed_ms: seen } = guess;
  if (low === null || high === null) return null;
  const most = 1.1 * Math.max(low, high, end ?? 0, seen ?? 0, 0.001);
  const at = (/** @type {number} */ ms) => `${(ms / most) * 100}%`;
  return html`<div class="range" aria-hidden="true"><span class="likely" style=${{ left: at(low), width: at(Math.max(0, high - low)) }}></span>
    ${seen !== null && html`<span class="seen" style=${{ left: at(seen) }}></span>`}</div>
    <p class="axis" aria-hidden="true"><span>0</span><span>bar: p50 to p95; line: observed</span><span>${latency(most)}</span></p>`;
}

/** @param {{found: any, chance: any}} props */
export function Hindsight({ found, chance }) {
  return html`<p>${found.words}</p>
    <dl class="facts">
      <dt>Best by ${found.by}</dt><dd>${found.best ?? UNKNOWN}${found.basis && ` (${found.basis})`}</dd>
      <dt>Regret, time</dt><dd>${found.regret_s === null ? UNKNOWN : latency(found.regret_s * 1000)}</dd>
      <dt>Regret, money</dt><dd>${money(found.regret_usd)}</dd>
      ${found.fastest && html`<dt>Fastest other</dt><dd><${Other} other=${found.fastest} /></dd>`}
      ${found.cheapest && html`<dt>Cheapest other</dt><dd><${Other} other=${found.cheapest} /></dd>`}
      ${found.late_s !== null && html`<dt>Lost before it was asked</dt><dd>${latency(found.late_s * 1000)}</dd>`}
    </dl>
    <h3>Chance</h3><p>${chance.words}</p>`;
}

/** @param {{other: any}} props */
function Other({ other }) {
  return html`${other.candidate}: ${other.at_least && "at least "}${latency(other.latency_ms)}, ${money(other.cost_usd)} (${other.basis})`;
}

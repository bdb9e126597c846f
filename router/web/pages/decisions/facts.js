// Whose request it was, how large, and under what it was decided.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { bytes, count, latency, UNKNOWN } from "/ui/parts/format.js";

/** @param {{decision: any}} props */
export function Facts({ decision: d }) {
  const intent = d.intent && `${d.intent}${d.intent_probability === null ? "" : ` (${Math.round(d.intent_probability * 100)} % sure)`}`;
  /** @type {[string, any][]} */
  const facts = [
    ["Decision", html`<code>${d.decision_id}</code>`],
    ["Request id", d.request_id ? html`<code>${d.request_id}</code>` : "none"],
    ["Asked at", html`<code>${d.surface}</code>${d.stream ? ", streamed" : ""}`],
    ["Session", d.session ? html`<code>${d.session}</code>` : "none"],
    ["Tenant", d.tenant ?? "nobody was named"],
    ["Policy", d.policy ? `${d.policy} (${d.policy_version ?? UNKNOWN})` : "none was asked"],
    ["Route", d.route ?? "none"],
    ["Intent", intent || "not judged"],
    ["Tokens in", `${count(d.prompt_tokens)} (estimated ${count(d.input_tokens)})`],
    ["Tokens out", `${count(d.completion_tokens)} (estimated ${count(d.output_tokens_est)})`],
    ["Input", `${bytes(d.input_bytes)}${d.batch_items ? `, ${d.batch_items} items` : ""}`],
    ["Time to decide", d.decide_us === null ? UNKNOWN : latency(d.decide_us / 1000)],
    ["First token", d.stream ? latency(d.first_token_ms) : "not streamed"],
    ["Cost from", d.cost_source ?? UNKNOWN],
  ];
  return html`<dl class="facts wide">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

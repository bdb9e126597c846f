// What may leave this machine, what is told elsewhere, and what is done beside requests. For admins.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section } from "/ui/parts/controls.js";
import { bytes, count, percent } from "/ui/parts/format.js";
import { Pairs } from "/ui/parts/pairs.js";

/** @param {{told: any}} props */
export function Guards({ told }) {
  const { egress, telemetry, cache, shadowing } = told;
  const denied = Object.entries(egress.denied).filter(([, times]) => times).map(([kind, times]) => `${kind}: ${times}`).join(", ");
  const asked = cache.hits + cache.misses;
  const traces = telemetry.traces;
  return html`<div class="grid">
    <${Section} title="Egress guard"><${Pairs} of=${[["This process", egress.sealed ? "sealed: nothing leaves this machine" : "not sealed: routing.offline is not set"], ["Refused since the start", denied || "nothing"]]} /></${Section}>
    <${Section} title="Telemetry"><${Pairs} of=${[["Lines", telemetry.logs ?? "none"], ["Spans", traces ? `${count(traces.made)} made, ${count(traces.delivered)} delivered, ${count(traces.failed)} failed` : "none: no collector is configured"]]} /></${Section}>
    <${Section} title="Cache of answers"><${Pairs} of=${[["State", cache.enabled ? "on" : "off"], ["Found", asked ? `${count(cache.hits)} of ${count(asked)} (${percent(cache.hits / asked)})` : "nothing was looked for yet"], ["Holds", `${count(cache.entries)} answers, ${bytes(cache.bytes)}`]]} /></${Section}>
    <${Section} title="Shadowing"><${Pairs} of=${[["Waiting", count(shadowing.waiting)], ["Run", count(shadowing.run)], ["Gave way", count(shadowing.preempted)], ["Dropped", count(shadowing.dropped)]]} /></${Section}></div>`;
}

// Who is asked at the moment, who is left alone, how far servers are, and whether the log keeps up.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { bytes, count, latency, percent, span, UNKNOWN } from "/ui/parts/format.js";
import { Pairs } from "/ui/parts/pairs.js";

/** @param {{told: any}} props */
export function Flow({ told }) {
  if (!told.log) return null;
  const order = ["open", "half-open", "closed"];
  const breakers = Object.entries(told.breakers).sort(([, a], [, b]) => order.indexOf(a.state) - order.indexOf(b.state));
  const admission = told.admission.map((/** @type {any} */ one) => [one.candidate, count(one.in_flight), one.limit === null ? "no limit" : count(one.limit)]);
  return html`<div class="grid"><${Section} title="Breakers">
      <${Table} caption="Who failed is left alone for a while" columns=${["candidate or account", "state", "why"]} rows=${breakers.map(([name, one]) => [name, html`<span class=${`state ${one.state}`}>${one.state}</span>`, one.why ?? ""])} empty="Nobody has failed." /></${Section}>
    <${Section} title="Admission">
      <${Table} caption="Requests under way, and how many may be" columns=${["candidate", "under way", "at most"]} rows=${admission} empty="Nobody was asked yet." /></${Section}>
    ${told.replicas.length > 0 && html`<${Section} title="Far servers">
      <${Table} caption="As they say of themselves, and as requests found them" columns=${["server", "address", "state", "ours", "waiting", "running", "KV cache"]} rows=${told.replicas.map(server)} /></${Section}>`}
    <${Section} title="Decision log"><${Pairs} of=${log(told.log)} /></${Section}></div>`;
}

/** @param {any} one */
function server(one) {
  const known = (/** @type {number | null} */ figure) => (figure === null ? UNKNOWN : count(figure));
  return [`${one.provider} ${one.replica}${one.engine ? ` (${one.engine})` : ""}`, one.address,
    html`<span class=${`state ${one.state}`}>${one.state}</span>${one.why && html`<br /><small>${one.why}</small>`}`, count(one.in_flight),
    known(one.waiting), known(one.running), one.cache === null ? UNKNOWN : percent(one.cache)];
}

/** @param {any} log  @returns {[string, unknown][]} */
function log(log) {
  return [["Behind by", log.lag_s < 1 ? latency(log.lag_s * 1000) : span(log.lag_s)], ["Rows waiting", count(log.queued)], ["Rows committed", count(log.committed)],
    ["Last commit took", latency(log.last_commit_ms)], ["Rows in the spill file", `${count(log.spill_pending)} of ${count(log.spilled)} that went through it`],
    ["Rows refused", count(log.rejected)], ["Failed commits", count(log.failed_commits)], ["Opened anew", count(log.replaced)],
    ["File", bytes(log.file_bytes)], ["Durability", log.durability]];
}

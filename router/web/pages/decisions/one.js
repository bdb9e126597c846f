// One decision explained: why, whom else it could have been, what happened, and whether it was right.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { Chip, Section } from "/ui/parts/controls.js";
import { instant } from "/ui/parts/format.js";
import { Shown, useAsked } from "/ui/parts/states.js";
import { Everything } from "/ui/pages/decisions/everything.js";
import { Facts } from "/ui/pages/decisions/facts.js";
import { Judge } from "/ui/pages/decisions/judge.js";
import { Hindsight, Predicted } from "/ui/pages/decisions/predicted.js";
import { Slate } from "/ui/pages/decisions/slate.js";
import { Timeline } from "/ui/pages/decisions/timeline.js";

const EVERY_MS = 2000; // while it runs
const SENTENCES = /(?<=\.)\s+(?=[A-Z])/;

/** @param {{id: string}} props */
export function Decision({ id }) {
  const [running, runs] = useState(false);
  const asked = useAsked(`/v1/decisions/${encodeURIComponent(id)}`, { everyMs: running ? EVERY_MS : undefined });
  const open = asked.data?.status === "open";
  useEffect(() => runs(open), [open]);
  return html`<p><a href="#/decisions">All decisions</a></p>
    <${Shown} of=${asked}>${(/** @type {any} */ decision) => html`<${Explained} decision=${decision} again=${asked.again} />`}</${Shown}>`;
}

/** @param {{decision: any, again: () => void}} props */
function Explained({ decision, again }) {
  const why = decision.explanation;
  const [first, ...rest] = why.summary.split(SENTENCES);
  const chip = html`<${Chip} backend=${decision.backend} model=${decision.model_served ?? decision.model} latencyMs=${decision.latency_ms} costUsd=${decision.cost_usd} />`;
  return html`
    <${Section} title="Why" actions=${decision.backend && chip}>
      <p class="summary"><b>${first}</b> ${rest.join(" ")}</p>
      <p class="quiet" role="status">${decision.task ?? "A request"} at ${instant(decision.ts)}: <b class=${`status ${decision.status}`}>${decision.status}</b>. ${decision.status === "open" && `It is looked at again every ${EVERY_MS / 1000} s.`}</p>
      ${decision.error && html`<p class="failure" role="note">${decision.error_class}: ${decision.error}</p>`}
      <${Limits} limits=${why.limits} /></${Section}>
    <${Section} title="Candidates"><div class="slate"><${Slate} decision=${decision} /></div></${Section}>
    <${Section} title="What happened"><${Timeline} decision=${decision} /></${Section}>
    <div class="grid">
      <${Section} title="Predicted against what happened"><${Predicted} guess=${why.prediction} /></${Section}>
      <${Section} title="In hindsight"><${Hindsight} found=${why.hindsight} chance=${why.exploration} /></${Section}>
    </div>
    <${Judge} decision=${decision} again=${again} />
    <${Section} title="The request"><${Facts} decision=${decision} /></${Section}>
    <${Everything} decision=${decision} />`;
}

/** @param {{limits: any[]}} props */
function Limits({ limits }) {
  if (!limits.length) return null;
  return html`<h3>Its limits</h3><ul>${limits.map((one) => html`<li>${one.words}</li>`)}</ul>`;
}

// What somebody says of the answer, and what the router makes of it.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Field, Section } from "/ui/parts/controls.js";
import { instant, percent } from "/ui/parts/format.js";
import { Failure } from "/ui/parts/states.js";

const VOTES = /** @type {[string, number][]} */ ([["Good", 1], ["Bad", 0]]);

/** @param {{decision: any, again: () => void}} props */
export function Judge({ decision, again }) {
  if (decision.status !== "ok") return html`<${Section} title="Was it a good answer?"><p class="empty">There is no answer to judge.</p></${Section}>`;
  const own = decision.feedback.findLast((/** @type {any} */ vote) => vote.source === "user");
  return html`<${Section} title="Was it a good answer?">
    <${Ballot} id=${decision.decision_id} own=${own} again=${again} />
    ${decision.feedback.length > 0 && html`<h3>Said so far</h3><ul>${decision.feedback.map((/** @type {any} */ vote) =>
      html`<li>${vote.source}, ${instant(vote.ts)}: ${vote.metric} ${percent(vote.value)}${vote.label && `, right would be “${vote.label}”`}</li>`)}</ul>`}
  </${Section}>`;
}

/** @param {{id: string, own: any, again: () => void}} props */
function Ballot({ id, own, again }) {
  const [state, set] = useState(/** @type {{busy: boolean, error: unknown, taken: any}} */ ({ busy: false, error: null, taken: null }));
  const [label, type] = useState(own?.label ?? "");
  const vote = async (/** @type {number} */ score) => {
    set({ busy: true, error: null, taken: null });
    try {
      const taken = await ask("POST", "/v1/feedback", { decision_id: id, score, ...(label.trim() ? { label: label.trim() } : {}) });
      set({ busy: false, error: null, taken });
      again();
    } catch (error) {
      set({ busy: false, error, taken: null });
    }
  };
  return html`<div class="row">
      ${VOTES.map(([name, score]) => html`<button type="button" aria-pressed=${own?.value === score} aria-disabled=${state.busy} onClick=${() => { if (!state.busy) vote(score); }}>${name}</button>`)}
      <${Field} label="The right answer, where it is a label (optional)"><input value=${label} maxlength="1000" onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} /></${Field}>
    </div>
    <${Failure} error=${state.error} />
    <p role="status">${state.busy ? "Being sent …" : state.taken && told(state.taken)}</p>`;
}

/** @param {any} taken */
function told({ replaced, model, quality }) {
  const held = quality.value === null ? "is still not known" : `is now held to be ${percent(quality.value)}`;
  return `${replaced ? "Your earlier judgement is replaced" : "Taken"}. The quality of ${model ?? "the model"} ${held}.`;
}

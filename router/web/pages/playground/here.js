// That this page may serve it, too: its own model is one more candidate of the policy's.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { offered } from "/ui/browser/hybrid.js";
import { useTier } from "/ui/parts/browser_tier.js";

/** @param {{task: string, model: string}} props  `model` is the one that is asked for */
export function AlsoHere({ task, model }) {
  useTier();
  return offered({ task, model }) && html`<p class="quiet">The policy may leave it to this page, which has the model loaded.</p>`;
}

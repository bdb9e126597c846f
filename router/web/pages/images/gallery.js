// One picture of the visit: on its way, there, cancelled or failed.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Chip } from "/ui/parts/controls.js";
import { Failure } from "/ui/parts/states.js";
import { draw, remove } from "/ui/pages/images/drawing.js";

/** @typedef {import("/ui/pages/images/drawing.js").Picture} Picture */

const TINY = 128; // pixels

/** @param {{picture: Picture, reuse: (wish: import("/ui/pages/images/drawing.js").Wish) => void}} props */
export function Drawn({ picture, reuse }) {
  const { wish, state, seed, url } = picture;
  const running = state === "drawing";
  const left = running ? () => picture.stop.abort() : () => remove(picture);
  return html`<li class="drawn">
    ${url && html`<img src=${url} alt=${wish.prompt} onLoad=${sharpen} />`}
    <p class="prompt">${wish.prompt}</p>
    ${wish.negative && html`<p class="quiet">Without: ${wish.negative}</p>`}
    ${running && html`<${Progress} picture=${picture} />`}
    ${state === "cancelled" && html`<p>${`Cancelled${upTo(picture)}; there is no picture.`}</p>`}
    <${Failure} error=${state === "failed" && picture.error} again=${() => { remove(picture); draw(wish); }} />
    ${state === "failed" && picture.step > 0 && html`<p class="quiet">${`It broke off${upTo(picture)}.`}</p>`}
    ${seed !== null && html`<p class="quiet">${`Seed ${seed}${picture.steps ? ` · ${picture.steps} steps` : ""}`}</p>`}
    <${Where} picture=${picture} />
    <div class="row">
      <button type="button" onClick=${left}>${running ? "Cancel" : "Remove"}</button>
      ${!running && html`<button type="button" onClick=${() => reuse({ ...wish, seed })}>Use again</button>`}
      ${url && html`<a class="button" href=${url} download=${`nearfar-${seed}.${picture.extension}`}>Download</a>`}
    </div></li>`;
}

/** A picture of few pixels is shown with its pixels, not smeared. @param {any} event */
function sharpen({ currentTarget: image }) {
  image.classList.toggle("tiny", image.naturalWidth <= TINY);
}

/** @param {{picture: Picture}} props */
function Progress({ picture: { step, steps, goesOn } }) {
  const told = steps ? `Step ${step} of ${steps}` : "Waiting for the first step";
  return html`<progress aria-label="Steps drawn" max=${steps ?? 1} value=${steps ? step : null}></progress>
    <p class="quiet">${told}${goesOn && ` · ${goesOn}`}</p>`;
}

/** Where it was drawn, in what time and for how much; of what was not finished only its decision is known here.
 * @param {{picture: Picture}} props */
function Where({ picture: { answer, decisionId, state } }) {
  if (answer) {
    return html`<p><${Chip} backend=${answer.backend} model=${answer.model} latencyMs=${answer.latency_ms} costUsd=${answer.cost_usd}
      decisionId=${answer.decision_id} reason=${answer.reason} /></p>`;
  }
  return decisionId && state !== "drawing" ? html`<p><a href=${`#/decisions/${decisionId}`}>Its decision</a></p>` : null;
}

/** @param {Picture} picture */
function upTo({ step, steps }) {
  return step && steps ? ` at step ${step} of ${steps}` : "";
}

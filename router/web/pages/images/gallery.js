// One drawing of the visit, of one picture or several: on its way, there, cancelled or failed.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Chip } from "/ui/parts/controls.js";
import { latency, money } from "/ui/parts/format.js";
import { Failure } from "/ui/parts/states.js";
import { draw, remove } from "/ui/pages/images/drawing.js";

/** @typedef {import("/ui/pages/images/drawing.js").Drawing} Drawing */
/** @typedef {(wish: import("/ui/pages/images/drawing.js").Wish) => void} Reuse */

const TINY = 128; // pixels

/** @param {{drawing: Drawing, reuse: Reuse}} props */
export function Drawn({ drawing, reuse }) {
  const { wish, state, images } = drawing;
  const running = state === "drawing";
  const left = running ? () => drawing.stop.abort() : () => remove(drawing);
  return html`<li class=${`drawn ${images.length > 1 ? "several" : ""}`}>
    ${images.length > 0 && html`<div class="images">${images.map((_, at) => html`<${One} key=${at} drawing=${drawing} at=${at} reuse=${reuse} />`)}</div>`}
    <p>${wish.prompt}</p>
    ${wish.negative && html`<p class="quiet">Without: ${wish.negative}</p>`}
    ${running && html`<${Progress} drawing=${drawing} />`}
    ${state === "cancelled" && html`<p>${`Cancelled${upTo(drawing)}; there is no picture.`}</p>`}
    <${Failure} error=${state === "failed" && drawing.error} again=${() => { remove(drawing); draw(wish); }} />
    ${state === "failed" && drawing.step > 0 && html`<p class="quiet">${`It broke off${upTo(drawing)}.`}</p>`}
    <${Where} drawing=${drawing} />
    <div class="row">
      <button type="button" onClick=${left}>${running ? "Cancel" : "Remove"}</button>
      ${!running && !images.length && html`<button type="button" onClick=${() => reuse(wish)}>Use again</button>`}
    </div></li>`;
}

/** One of its pictures; with its seed it can be had again, alone. @param {{drawing: Drawing, at: number, reuse: Reuse}} props */
function One({ drawing: { id, wish, images, steps }, at, reuse }) {
  const { url, extension, seed } = images[at];
  const several = images.length > 1;
  const name = several ? `picture ${at + 1}` : "";
  const told = [seed !== null && `Seed ${seed}`, steps && `${steps / images.length} steps`].filter(Boolean);
  return html`<figure><img src=${url} alt=${several ? `${wish.prompt}, ${name}` : wish.prompt} onLoad=${sharpen} />
    <figcaption class="quiet">${told.join(" · ")}</figcaption>
    <div class="row"><button type="button" aria-label=${`Use again ${name}`.trim()} onClick=${() => reuse({ ...wish, seed, n: null })}>Use again</button>
      <a class="button" href=${url} aria-label=${`Download ${name}`.trim()} download=${`nearfar-${seed ?? `${id}-${at + 1}`}.${extension}`}>Download</a></div></figure>`;
}

/** A picture of few pixels is shown with its pixels, not smeared. @param {any} event */
function sharpen({ currentTarget: image }) {
  image.classList.toggle("tiny", image.naturalWidth <= TINY);
}

/** @param {{drawing: Drawing}} props */
function Progress({ drawing: { step, steps, goesOn, wish } }) {
  const n = wish.n ?? 1;
  const which = steps && n > 1 ? ` · picture ${Math.min(n, Math.floor((step * n) / steps) + 1)} of ${n}` : "";
  const told = steps ? `Step ${step} of ${steps}` : "Waiting for the first step";
  return html`<progress aria-label="Steps drawn" max=${steps ?? 1} value=${steps ? step : null}></progress>
    <p class="quiet">${told}${which}${goesOn && ` · ${goesOn}`}</p>`;
}

/** Where it was drawn, in what time and for how much; of what was not finished only its decision is known here.
 * @param {{drawing: Drawing}} props */
function Where({ drawing: { answer, decisionId, state, images: { length } } }) {
  if (!answer) return decisionId && state !== "drawing" ? html`<p><a href=${`#/decisions/${decisionId}`}>Its decision</a></p>` : null;
  const each = length > 1 && `For all ${length}; on average ${latency(answer.latency_ms / length)} and ${money(answer.cost_usd === null ? null : answer.cost_usd / length)} a picture.`;
  return html`<p><${Chip} backend=${answer.backend} model=${answer.model} latencyMs=${answer.latency_ms} costUsd=${answer.cost_usd}
    decisionId=${answer.decision_id} reason=${answer.reason} /></p>${each && html`<p class="quiet">${each}</p>`}`;
}

/** @param {Drawing} drawing */
function upTo({ step, steps }) {
  return step && steps ? ` at step ${step} of ${steps}` : "";
}

// How alike texts are, each with each: numbers first, shades for the eye.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { cosine } from "/ui/pages/playground/vectors.js";

const DARKEST = 45; // percent of the accent: the number on it stays readable, light and dark

/** @param {{texts: string[], vectors: number[][]}} props */
export function Matrix({ texts, vectors }) {
  const cell = (/** @type {number} */ i, /** @type {number} */ j) => {
    const alike = cosine(vectors[i], vectors[j]);
    const shade = Math.round(Math.max(0, alike ?? 0) * DARKEST);
    return html`<td style=${{ backgroundColor: `color-mix(in srgb, var(--accent) ${shade}%, var(--card))` }}>${figure(alike)}</td>`;
  };
  return html`<p class="quiet">1 points the same way, 0 has nothing in common.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Similarity of the texts"><table class="matrix"><caption>Cosine similarity</caption>
    <thead><tr><th scope="col">text</th>${texts.map((text, i) => html`<th scope="col" title=${text}>${i + 1}</th>`)}</tr></thead>
    <tbody>${texts.map((text, i) => html`<tr><th scope="row">${`${i + 1}. ${text}`}</th>${texts.map((_, j) => cell(i, j))}</tr>`)}</tbody></table></div>`;
}

/** Two digits; what rounds to nothing has no sign. @param {number | null} alike */
function figure(alike) {
  return alike === null ? "none" : alike.toFixed(2).replace("-0.00", "0.00").replace("-", "−");
}

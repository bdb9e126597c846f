// Labels with how sure the model is of each: a bar for the eye, the figure beside it.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { percent } from "/ui/parts/format.js";

/** @param {{title: string, labels: {label: string, score: number}[]}} props  best first, as the server sends them */
export function Bars({ title, labels }) {
  return html`<ul class="bars" aria-label=${title}>${labels.map(({ label, score }) => html`<li><span>${label}</span>
    <span class="bar" aria-hidden="true"><span style=${{ width: `${score * 100}%` }}></span></span><span class="figure">${percent(score, 1)}</span></li>`)}</ul>`;
}

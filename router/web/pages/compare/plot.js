// Dots on one axis: each run of each candidate, its median, and the interval that holds it.
import { html } from "/ui/vendor/htm/standalone.module.js";

/** @typedef {import("/ui/pages/compare/numbers.js").Summary} Summary */

/** @param {{title: string, rows: {name: string, of: Summary}[], format: (value: number) => string}} props the table beside it has the same figures */
export function DotPlot({ title, rows, format }) {
  const known = rows.filter((row) => row.of.n);
  const most = Math.max(0, ...known.flatMap((row) => row.of.values));
  if (!known.length) return html`<p class="empty">No run has a known ${title.toLowerCase()}.</p>`;
  const at = (/** @type {number} */ value) => `${most ? (value / most) * 100 : 0}%`;
  return html`<figure class="dots"><figcaption>${title}, each run, the median and where it lies</figcaption>
    <div role="img" aria-label=${`${title}: its figures are in the table`}>
      ${known.map(({ name, of }, i) => html`<div class="dots-row"><span class="quiet">${name}</span><div class="dots-track" style=${{ color: `var(--series-${(i % 6) + 1})` }}>
        ${of.low !== null && of.high !== null && html`<span class="dots-span" style=${{ left: at(of.low), width: at(of.high - of.low) }}></span>`}
        ${of.values.map((value) => html`<span class="dot" style=${{ left: at(value) }}></span>`)}
        <span class="median" style=${{ left: at(of.median ?? 0) }}></span></div></div>`)}
      <div class="dots-axis quiet"><span>0</span><span>${format(most / 2)}</span><span>${format(most)}</span></div></div></figure>`;
}

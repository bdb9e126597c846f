// Names and their values, one under the other.
import { html } from "/ui/vendor/htm/standalone.module.js";

/** @param {{of: [string, unknown][]}} props */
export function Pairs({ of }) {
  return html`<dl class="pairs">${of.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** How much of something is taken. @param {{label: string, value: number, most: number}} props */
export function Bar({ label, value, most }) {
  const share = most > 0 ? Math.min(1, Math.max(0, value / most)) : 1;
  return html`<div class=${`bar ${share >= 0.9 ? "full" : ""}`} role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${most} aria-valuenow=${value}><span style=${{ width: `${share * 100}%` }}></span></div>`;
}

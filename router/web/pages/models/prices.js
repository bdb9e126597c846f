// Prices: what a place charges, in words, and as a form.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { NumberField } from "/ui/parts/controls.js";
import { money, UNKNOWN } from "/ui/parts/format.js";

/** @type {[string, string][]} */
export const UNITS = [
  ["input_per_1m_usd", "a million input tokens"], ["output_per_1m_usd", "a million output tokens"], ["cached_input_per_1m_usd", "a million cached input tokens"],
  ["per_request_usd", "a request"], ["per_image_usd", "an image"], ["per_step_usd", "a step"], ["per_audio_minute_usd", "a minute of audio"], ["per_second_usd", "a second of compute"],
];

/** @param {any} price */
export function priced(price) {
  const said = UNITS.filter(([unit]) => price?.[unit] != null).map(([unit, words]) => `${money(price[unit])} ${words}`);
  return said.length ? said.join(", ") : `price ${UNKNOWN}`;
}

/** @param {{price: any, onChange: (price: any) => void}} props */
export function Prices({ price, onChange }) {
  const set = (/** @type {string} */ unit, /** @type {number | null} */ usd) => {
    const next = { ...price, [unit]: usd, source: "run-time", as_of: null };
    onChange(UNITS.some(([name]) => next[name] != null) ? next : null);
  };
  return html`<fieldset><legend>Price in US dollars; none at all is an unknown price</legend><div class="row">
    ${UNITS.map(([unit, words]) => html`<${NumberField} label=${`$ for ${words}`} min=${0} step="any" value=${price?.[unit] ?? null} onChange=${(/** @type {number | null} */ usd) => set(unit, usd)} />`)}</div></fieldset>`;
}

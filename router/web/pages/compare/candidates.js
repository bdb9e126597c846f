// Who can be compared: every candidate of every model that does the task, and how to ask for that one and no other.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Field } from "/ui/parts/controls.js";
import { money, side } from "/ui/parts/format.js";

export const MOST = 4;
const MANY = 12; // from here on a list is searched

/** @typedef {{key: string, id: string, model: string, backend: string, provider: string, device: string, loaded: boolean, whyNot: string, price: any, routing: Record<string, unknown>}} Candidate */

/** The candidates for a task, by model. @param {any[]} models the data of `GET /v1/models`  @param {string} task  @returns {Candidate[]} */
export function candidatesOf(models, task) {
  return models.filter((model) => model.nearfar.task === task).flatMap((model) => {
    /** @type {any[]} */ const all = model.nearfar.candidates;
    return all.map((one) => {
      const routing = pin(one, all);
      const whyNot = one.available ? (routing ? "" : "it cannot be told from another candidate of this provider") : (one.why_not ?? "unavailable");
      return {
        key: `${model.id} ${one.candidate}`, id: one.candidate, model: model.id, backend: one.backend, provider: one.provider,
        device: one.device, loaded: one.loaded, whyNot, price: one.price, routing: routing ?? {},
      };
    });
  });
}

/** The routing that only this candidate of its model fits, or null: `only` and `ignore` name providers or backends.
 * Neither chance nor an answer given before has a say, and the policy is one that needs no price.
 * @param {any} one  @param {any[]} all */
export function pin(one, all) {
  const alike = all.filter((other) => other !== one && [other.provider, other.backend].includes(one.provider));
  const ignore = alike.map((other) => other.provider);
  if (ignore.includes(one.provider) || ignore.includes(one.backend)) return null;
  return { policy: "fastest", only: [one.provider], ignore, allow_fallbacks: false, explore: false, cache: false, explain: true };
}

/** How people tell candidates apart. @param {{model: string, provider: string, backend: string}} one */
export function named({ model, provider, backend }) {
  const where = side(backend);
  return `${model} · ${provider === backend || provider === where ? where : `${where}, ${provider}`}`;
}

/** @param {{all: Candidate[], chosen: string[], onChange: (keys: string[]) => void, again: () => void, busy: boolean}} props */
export function Candidates({ all, chosen, onChange, again, busy }) {
  const [wanted, want] = useState("");
  const fit = all.filter((one) => !one.whyNot);
  const unfit = all.filter((one) => one.whyNot);
  const seen = fit.filter((one) => chosen.includes(one.key) || named(one).toLowerCase().includes(wanted.toLowerCase()));
  const full = fit.filter((one) => chosen.includes(one.key)).length >= MOST;
  return html`<fieldset class="candidates" disabled=${busy}><legend>Candidates, up to ${MOST}</legend>
    ${fit.length > MANY && html`<${Field} label="Search candidates"><input type="search" value=${wanted} onInput=${(/** @type {any} */ e) => want(e.currentTarget.value)} /></${Field}>`}
    ${!fit.length && html`<p class="empty">No candidate for this task can serve now. The Models page can load or add one.</p>`}
    <ul>${seen.map((one) => html`<li key=${one.key}><${Pick} one=${one} chosen=${chosen} full=${full} onChange=${onChange} /></li>`)}</ul>
    ${unfit.length > 0 && html`<details><summary>${unfit.length} that cannot serve now</summary><ul>${unfit.map((one) => html`<li key=${one.key}>${named(one)} <small>${one.whyNot}</small></li>`)}</ul></details>`}
    <p class="row"><small role="status">${full ? `${MOST} are chosen: take one away to choose another.` : ""}</small>
      <button type="button" onClick=${again}>Look again</button></p></fieldset>`;
}

/** @param {{one: Candidate, chosen: string[], full: boolean, onChange: (keys: string[]) => void}} props */
function Pick({ one, chosen, full, onChange }) {
  const has = chosen.includes(one.key);
  const turn = () => onChange(has ? chosen.filter((key) => key !== one.key) : [...chosen, one.key]);
  return html`<label class="pick"><input type="checkbox" checked=${has} disabled=${full && !has} onChange=${turn} />
    <span>${named(one)} <small>${[one.device, one.loaded ? "" : "not loaded yet", priced(one)].filter(Boolean).join(", ")}</small></span></label>`;
}

/** Units of prices, in words. */
const UNITS = {
  input_per_1m_usd: "per million tokens read", output_per_1m_usd: "per million written", per_request_usd: "a request", per_image_usd: "an image",
  per_audio_minute_usd: "a minute of sound", per_second_usd: "a second", per_step_usd: "a step",
};

/** What it charges, in words. @param {Candidate} one */
function priced({ price, backend }) {
  const told = Object.entries(UNITS).filter(([name]) => typeof price?.[name] === "number").map(([name, unit]) => `${money(price[name])} ${unit}`);
  return told.join(", ") || (backend === "local" ? "costs this machine's time" : "price unknown");
}

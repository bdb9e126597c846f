// Who may answer, and what it may cost: kept in this browser.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Field, NumberField } from "/ui/parts/controls.js";
import { money } from "/ui/parts/format.js";
import { POLICIES } from "/ui/parts/policies.js";
import { Failure } from "/ui/parts/states.js";

/** @typedef {import("/ui/pages/chat/answering.js").Options} Options */

const KEY = "nearfar.chat";
const TASK = "text-generation";
/** @type {Options} */
const FIRST = { model: "auto", policy: "", maxCostUsd: null, maxSeconds: null, maxTokens: null, private: false };

/** The options as they were left, and how to change some.
 * @returns {[Options, (some: Partial<Options>) => void]} */
export function useOptions() {
  const [options, set] = useState(kept);
  const change = (/** @type {Partial<Options>} */ some) => {
    const next = { ...options, ...some };
    set(next);
    try { localStorage.setItem(KEY, JSON.stringify(next)); } catch { /* full: they hold until the page is closed */ }
  };
  return [options, change];
}

/** @returns {Options} */
function kept() {
  try {
    return { ...FIRST, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return FIRST;
  }
}

/** @param {{options: Options, change: (some: Partial<Options>) => void, models: {data: any, error: Error | null, again: () => void}}} props */
export function OptionsFields({ options, change, models }) {
  const names = namesOf(models.data?.data ?? [], options.model);
  const policies = /** @type {[string, string][]} */ ([["", "as configured"], ...POLICIES.map((name) => [name, name])]);
  return html`<${Failure} error=${models.error} again=${models.again} />
    <div class="row"><${Choice} label="Model" value=${options.model} options=${names} onChange=${(/** @type {string} */ model) => change({ model })} />
      <${Choice} label="Policy" value=${options.policy} options=${policies} onChange=${(/** @type {string} */ policy) => change({ policy })} /></div>
    <details class="limits"><summary>Limits: ${limitsIn(options)}</summary><div class="row">
      <${NumberField} label="Most it may cost ($)" min="0" step="any" placeholder="no limit" value=${options.maxCostUsd} onChange=${(/** @type {number | null} */ maxCostUsd) => change({ maxCostUsd })} />
      <${NumberField} label="Longest it may take (s)" min="0.001" step="any" placeholder="no limit" value=${options.maxSeconds} onChange=${(/** @type {number | null} */ maxSeconds) => change({ maxSeconds })} />
      <${NumberField} label="Longest answer (tokens)" min="1" step="1" placeholder="256" value=${options.maxTokens} onChange=${(/** @type {number | null} */ maxTokens) => change({ maxTokens })} />
      <${Field} label="Private" says="It never leaves the server's own machine."><input type="checkbox" checked=${options.private} onChange=${(/** @type {any} */ e) => change({ private: e.currentTarget.checked })} /></${Field}>
    </div></details>`;
}

/** @param {Options} options */
function limitsIn(options) {
  const set = [options.maxCostUsd !== null && `at most ${money(options.maxCostUsd)}`, options.maxSeconds !== null && `at most ${options.maxSeconds} s`,
    options.maxTokens !== null && `at most ${options.maxTokens} tokens`, options.private && "private"].filter(Boolean);
  return set.join(", ") || "none";
}

/** `auto`, the aliases, the models: all that may chat. One that was chosen stays there.
 * @param {any[]} models  @param {string} chosen  @returns {[string, string][]} */
function namesOf(models, chosen) {
  const chatting = models.filter((model) => model.nearfar.task === TASK);
  const aliases = chatting.filter((model) => model.nearfar.models);
  /** @type {[string, string][]} */
  const names = [["auto", "auto: the router chooses"], ...[...aliases, ...chatting.filter((model) => !model.nearfar.models)].map((model) => /** @type {[string, string]} */ ([model.id, named(model)]))];
  return names.some(([id]) => id === chosen) ? names : [...names, [chosen, models.length ? `${chosen} (not known to this server)` : chosen]];
}

/** @param {any} model */
function named({ id, nearfar }) {
  if (nearfar.models) return `${id}: the best of ${nearfar.models.length}`;
  return nearfar.candidates.some((/** @type {any} */ candidate) => candidate.available) ? id : `${id} (nobody serves it now)`;
}

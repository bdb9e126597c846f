// Which decisions are wanted. What was chosen is kept for this tab, so that one finds it again after reading a decision.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Field, Section } from "/ui/parts/controls.js";
import { useAsked } from "/ui/parts/states.js";

/** @typedef {{since: string, until: string, model: string, task: string, backend: string, policy: string, status: string}} Chosen
 * `since` and `until` are this reader's own time, as its input writes it; empty is not asked for */

const NAME = "nearfar.decisions";
/** @type {Chosen} */
const NONE = { since: "", until: "", model: "", task: "", backend: "", policy: "", status: "" };
const WHERE = /** @type {[string, string][]} */ ([["", "anywhere"], ["local", "near"], ["remote", "far"], ["browser", "browser"], ["cache", "cache"], ["fake", "fake"]]);
const STATUS = ["ok", "error", "refused", "cancelled", "open"];

/** @returns {Chosen} */
export function kept() {
  try {
    return { ...NONE, ...JSON.parse(sessionStorage.getItem(NAME) ?? "{}") };
  } catch {
    return NONE; // what is kept there is not ours
  }
}

/** As the end of a query. @param {Chosen} chosen */
export function queryOf(chosen) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(chosen)) {
    if (value) said.set(name, name === "since" || name === "until" ? new Date(value).toISOString() : value);
  }
  return said.size ? `&${said}` : "";
}

/** @param {{chosen: Chosen, onChange: (chosen: Chosen) => void}} props */
export function Filters({ chosen, onChange }) {
  const set = (/** @type {Partial<Chosen>} */ part) => {
    const now = { ...chosen, ...part };
    sessionStorage.setItem(NAME, JSON.stringify(now));
    onChange(now);
  };
  const count = Object.values(chosen).filter(Boolean).length;
  const clear = html`<button type="button" disabled=${!count} onClick=${() => set(NONE)}>Clear filters</button>`;
  return html`<${Section} title=${count ? `Filters (${count} in force)` : "Filters"} actions=${clear}><div class="row filters">
    <${Named} label="Model" of="model" value=${chosen.model} onChange=${(/** @type {string} */ model) => set({ model })} />
    <${Named} label="Task" of="task" value=${chosen.task} onChange=${(/** @type {string} */ task) => set({ task })} />
    <${Choice} label="Where" value=${chosen.backend} options=${WHERE} onChange=${(/** @type {string} */ backend) => set({ backend })} />
    <${Named} label="Policy" of="policy" value=${chosen.policy} onChange=${(/** @type {string} */ policy) => set({ policy })} />
    <${Choice} label="Status" value=${chosen.status} options=${[["", "any"], ...STATUS]} onChange=${(/** @type {string} */ status) => set({ status })} />
    <${When} label="Since" value=${chosen.since} onChange=${(/** @type {string} */ since) => set({ since })} />
    <${When} label="Until" value=${chosen.until} onChange=${(/** @type {string} */ until) => set({ until })} />
  </div></${Section}>`;
}

/** One of the names that the log has. @param {{label: string, of: string, value: string, onChange: (value: string) => void}} props */
function Named({ label, of, value, onChange }) {
  const { data, error, again } = useAsked(`/v1/analytics/summary?by=${of}`);
  const names = new Set([...(data?.rows ?? []).map((/** @type {any} */ row) => row[of]), value].filter(Boolean));
  return html`<div onFocusIn=${again}><${Choice} label=${label} value=${value} options=${[["", "any"], ...[...names].sort()]} onChange=${onChange}
    says=${error ? "The names in the log could not be asked for." : undefined} /></div>`;
}

/** @param {{label: string, value: string, onChange: (value: string) => void}} props */
function When({ label, value, onChange }) {
  const take = (/** @type {any} */ e) => { if (e.currentTarget.validity.valid) onChange(e.currentTarget.value); };
  return html`<${Field} label=${label}><input type="datetime-local" step="1" value=${value} onChange=${take} /></${Field}>`;
}

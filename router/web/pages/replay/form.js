// Which policy, with which parameters, on which part of the log. What was chosen is kept here.
import { html, useEffect } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Field, NumberField, Section } from "/ui/parts/controls.js";
import { Failure, useAsked } from "/ui/parts/states.js";

/** @typedef {{policy: string, since: string, until: string, task: string, model: string, latency: number | null, cost: number | null, quality: number | null,
 *   deadline: number | null, rows: number | null, baselines: boolean, watched: boolean}} Chosen */

const NAME = "nearfar.replay";
const WEIGHED = "balanced"; // the only policy that weighs
/** @type {Chosen} */
const FIRST = { policy: "", since: "", until: "", task: "", model: "", latency: null, cost: null, quality: null, deadline: null, rows: null, baselines: true, watched: false };

/** @returns {Chosen} */
export function kept() {
  try {
    return { ...FIRST, ...JSON.parse(localStorage.getItem(NAME) ?? "{}") };
  } catch {
    return FIRST; // what is kept there is not ours
  }
}

/** What the API is asked. What was left open is left to it. @param {Chosen} chosen */
export function bodyOf(chosen) {
  const { latency, cost, quality } = chosen;
  const weights = Object.fromEntries(Object.entries({ latency, cost, quality }).filter(([, value]) => value !== null));
  const at = (/** @type {string} */ text) => (text ? new Date(text).toISOString() : undefined);
  return {
    policy: chosen.policy, since: at(chosen.since), until: at(chosen.until), task: chosen.task || undefined, model: chosen.model || undefined,
    weights: chosen.policy === WEIGHED && Object.keys(weights).length ? weights : undefined, deadline_ms: chosen.deadline ?? undefined,
    max_rows: chosen.rows ?? undefined, baselines: chosen.baselines, watched: chosen.watched,
  };
}

/** @param {{chosen: Chosen, onChange: (chosen: Chosen) => void, onRun: () => void, running: boolean}} props */
export function Form({ chosen, onChange, onRun, running }) {
  const system = useAsked("/v1/system");
  const policies = system.data?.policies ?? [];
  const now = { ...chosen, policy: chosen.policy || system.data?.policy || "" };
  const set = (/** @type {Partial<Chosen>} */ part) => {
    localStorage.setItem(NAME, JSON.stringify({ ...chosen, ...part }));
    onChange({ ...chosen, ...part });
  };
  const run = (/** @type {Event} */ e) => { e.preventDefault(); if (!running) onRun(); };
  useEffect(() => { if (now.policy && !chosen.policy) set({ policy: now.policy }); }, [now.policy]);
  return html`<${Section} title="What to replay"><${Failure} error=${system.error} again=${system.again} />
    <form onSubmit=${run}><div class="row">
      <${Choice} label="Policy" value=${now.policy} options=${[...new Set([...policies, now.policy])]} onChange=${(/** @type {string} */ policy) => set({ policy })} />
      ${now.policy === WEIGHED && html`<${Weights} chosen=${now} set=${set} />`}</div>
      <div class="row"><${Window} chosen=${now} set=${set} /></div>
      <div class="row"><${Ticked} label="Compare with simple ways to decide" value=${now.baselines} onChange=${(/** @type {boolean} */ baselines) => set({ baselines })} />
        <${Ticked} label="I look again while the log grows (wider intervals, valid at every look)" value=${now.watched} onChange=${(/** @type {boolean} */ watched) => set({ watched })} />
      </div><p><button type="submit" class="main" aria-disabled=${running} disabled=${!now.policy}>${running ? "Running …" : "Replay"}</button></p></form></${Section}>`;
}

/** @typedef {{chosen: Chosen, set: (part: Partial<Chosen>) => void}} Part */

/** @param {Part} props */
function Weights({ chosen, set }) {
  return html`${/** @type {("latency" | "cost" | "quality")[]} */ (["latency", "cost", "quality"]).map((name) => html`<${NumberField} label=${`Weight of ${name}`} value=${chosen[name]} min=${0} step="any"
    placeholder="as configured" onChange=${(/** @type {number | null} */ value) => set({ [name]: value })} />`)}`;
}

/** @param {Part} props */
function Window({ chosen, set }) {
  const models = useAsked("/v1/analytics/summary?by=model");
  const tasks = useAsked("/v1/analytics/summary?by=task");
  const names = (/** @type {any} */ asked, /** @type {string} */ by, /** @type {string} */ now) =>
    [["", "any"], ...new Set([...(asked.data?.rows ?? []).map((/** @type {any} */ row) => row[by]), now].filter(Boolean))];
  const when = (/** @type {"since" | "until"} */ name) => html`<${Field} label=${name === "since" ? "Since" : "Until"}>
    <input type="datetime-local" step="1" value=${chosen[name]} onChange=${(/** @type {any} */ e) => set({ [name]: e.currentTarget.value })} /></${Field}>`;
  return html`${when("since")}${when("until")}
    <${Choice} label="Task" value=${chosen.task} options=${names(tasks, "task", chosen.task)} onChange=${(/** @type {string} */ task) => set({ task })} />
    <${Choice} label="Model" value=${chosen.model} options=${names(models, "model", chosen.model)} onChange=${(/** @type {string} */ model) => set({ model })} />
    <${NumberField} label="Late after (ms)" value=${chosen.deadline} min=${1} step="any" placeholder="own deadline" onChange=${(/** @type {number | null} */ deadline) => set({ deadline })} />
    <${NumberField} label="At most, decisions" value=${chosen.rows} min=${1} max=${200000} placeholder="50000" onChange=${(/** @type {number | null} */ rows) => set({ rows })} />`;
}

/** @param {{label: string, value: boolean, onChange: (value: boolean) => void}} props */
function Ticked({ label, value, onChange }) {
  return html`<label class="ticked"><input type="checkbox" checked=${value} onChange=${(/** @type {any} */ e) => onChange(e.currentTarget.checked)} /> ${label}</label>`;
}

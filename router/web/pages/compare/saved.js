// The runs that were saved: a list to name, open, export and delete, and what they say together.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { UNKNOWN, instant, latency, money } from "/ui/parts/format.js";
import { named } from "/ui/pages/compare/candidates.js";
import { speed } from "/ui/pages/compare/columns.js";
import { MOST_RUNS, download } from "/ui/pages/compare/runs.js";
import { Together } from "/ui/pages/compare/together.js";
import { taskOf } from "/ui/pages/compare/tasks.js";

/** @typedef {import("/ui/pages/compare/runs.js").Run} Run */

/** @param {{runs: Run[], store: (runs: Run[]) => void}} props */
export function SavedRuns({ runs, store }) {
  const [open, show] = useState("");
  const [sure, ask] = useState(false);
  const opened = runs.find((run) => run.id === open);
  const name = (/** @type {Run} */ run, /** @type {string} */ text) => store(runs.map((one) => (one.id === run.id ? { ...one, name: text } : one)));
  const all = html`<div class="row">
    <button type="button" disabled=${!runs.length} onClick=${() => download(runs, "nearfar-runs")}>Export all</button>
    ${sure ? html`<button type="button" class="risky" onClick=${() => { store([]); ask(false); }}>Delete all ${runs.length} for good</button><button type="button" onClick=${() => ask(false)}>Keep them</button>`
      : html`<button type="button" class="risky" disabled=${!runs.length} onClick=${() => ask(true)}>Delete all</button>`}</div>`;
  const row = (/** @type {Run} */ run) => [
    html`<input aria-label=${`Name of the run of ${instant(run.at)}`} value=${run.name} maxlength="100" onChange=${(/** @type {any} */ e) => name(run, e.currentTarget.value)} />`,
    instant(run.at), taskOf(run.task).title, run.order, run.results.length,
    html`<div class="row"><button type="button" aria-expanded=${run.id === open} aria-label=${`Results of ${run.name}`} onClick=${() => show(run.id === open ? "" : run.id)}>Results</button>
      <button type="button" aria-label=${`Export ${run.name}`} onClick=${() => download([run], `nearfar-run-${run.id}`)}>Export</button>
      <button type="button" class="risky" aria-label=${`Delete ${run.name}`} onClick=${() => store(runs.filter((one) => one.id !== run.id))}>Delete</button></div>`,
  ];
  return html`<${Section} title="Saved runs" actions=${all}>
    <p class="quiet">Kept in this browser only: input, answers and figures, without pictures and vectors. The newest ${MOST_RUNS} stay.</p>
    <${Table} caption="Saved runs, newest first" columns=${["name", "when", "task", "order", "candidates", "actions"]} rows=${runs.map(row)} empty="No run yet: compare something." />
    ${opened && html`<${Opened} run=${opened} />`}
    </${Section}>
    ${runs.length > 0 && html`<${Together} runs=${runs} />`}`;
}

/** @param {{run: Run}} props */
function Opened({ run }) {
  const row = (/** @type {import("/ui/pages/compare/runs.js").Saved} */ one) => [
    named(one), one.state, latency(one.firstMs), latency(one.totalMs), speed(one.tokensPerS), money(one.costUsd), one.score === null ? "none" : one.score.toFixed(2),
    html`<div class="said short">${one.problem || one.text || "—"}</div>`, one.decisionId ? html`<a href=${`#/decisions/${one.decisionId}`}>why?</a>` : UNKNOWN,
  ];
  return html`<h3>${run.name}</h3><p class="said">${run.input}</p>
    <${Table} caption=${`Results of ${run.name}`} columns=${["candidate", "state", "first token", "total", "tokens/s", "cost", "vote", "answer", "decision"]} rows=${run.results.map(row)} />`;
}

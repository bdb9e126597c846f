// One input for up to four candidates side by side, judged, saved, and what the saved runs say together.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, NumberField, Section } from "/ui/parts/controls.js";
import { Failure, Shown, useAsked } from "/ui/parts/states.js";
import { Candidates, MOST, candidatesOf } from "/ui/pages/compare/candidates.js";
import { Input } from "/ui/pages/compare/input.js";
import { Results } from "/ui/pages/compare/results.js";
import { useRunning } from "/ui/pages/compare/running.js";
import { keep, runOf, saved } from "/ui/pages/compare/runs.js";
import { SavedRuns } from "/ui/pages/compare/saved.js";
import { ServerRuns } from "/ui/pages/compare/server.js";
import { shuffled } from "/ui/pages/compare/numbers.js";
import { NOTHING, TASKS, bodyOf, inputTold, linesOf, missing, parametersOf, taskOf } from "/ui/pages/compare/tasks.js";

/** @typedef {import("/ui/pages/compare/candidates.js").Candidate} Candidate */
/** @typedef {import("/ui/pages/compare/runs.js").Run} Run */
/** @typedef {{task: string, chosen: Record<string, string[]>, order: "together" | "in turn", blind: boolean}} Choices */
/** @typedef {{task: string, input: string, lines: string[], runId: string, blind: boolean, left: number, turn: number}} Asked */

const PLACE = "nearfar.compare.choices";
const MOST_REPEATS = 20;
const FAIR = "Near candidates share this machine: asked together they slow each other down, and their times are longer than alone. Asked one after the other, in an order of chance, each has it to itself.";

/** @returns {Choices} */
function remembered() {
  const plain = { task: TASKS[0].task, chosen: {}, order: /** @type {const} */ ("together"), blind: false };
  try {
    return { ...plain, ...JSON.parse(localStorage.getItem(PLACE) ?? "{}") };
  } catch {
    return plain;
  }
}

export default function Compare() {
  const catalogue = useAsked("/v1/models");
  const [choices, choose] = useState(remembered);
  const [runs, list] = useState(saved);
  const [trouble, fail] = useState("");
  useEffect(() => { try { localStorage.setItem(PLACE, JSON.stringify(choices)); } catch { /* they are forgotten with the page then */ } }, [choices]);
  const store = (/** @type {Run[]} */ next) => {
    try { list(keep(next)); fail(""); } catch (/** @type {any} */ error) { fail(error.message); }
  };
  // One element around all: without it the library puts the runs first once the models have come.
  return html`<div><p class="quiet">One input for up to ${MOST} candidates. Each is asked by a request of its own, with a decision of its own in the log.</p>
    <div class="awaits-form"><${Shown} of=${catalogue}>${(/** @type {any} */ { data }) => html`<${Bench} models=${data} again=${catalogue.again} choices=${choices}
      choose=${(/** @type {Partial<Choices>} */ part) => choose((was) => ({ ...was, ...part }))} store=${store} />`}</${Shown}></div>
    <${Failure} error=${trouble} />
    <${SavedRuns} runs=${runs} store=${store} />
    <${ServerRuns} /></div>`;
}

/** @param {{models: any[], again: () => void, choices: Choices, choose: (part: Partial<Choices>) => void, store: (runs: Run[]) => void}} props */
function Bench({ models, again, choices, choose, store }) {
  const [given, give] = useState(NOTHING);
  const [asked, ask] = useState(/** @type {Asked | null} */ (null));
  const [problem, tell] = useState("");
  const running = useRunning();
  const task = taskOf(choices.task);
  const all = candidatesOf(models, task.task);
  const keys = (choices.chosen[task.task] ?? []).filter((key) => all.some((one) => one.key === key && !one.whyNot)).slice(0, MOST);
  const [repeats, repeat] = useState(/** @type {number | null} */ (1));
  const begin = async (/** @type {Event} */ e) => {
    e.preventDefault();
    const why = missing(task, given) || (keys.length ? "" : "Choose a candidate first.");
    tell(why);
    if (why) return;
    try {
      await repeated(keys.map((key) => all.find((one) => one.key === key)));
    } catch (/** @type {any} */ error) {
      tell(error.message); // the file could not be read
    }
  };
  const repeated = async (/** @type {any[]} */ candidates) => {
    const body = await bodyOf(task, given);
    const { order, blind } = choices;
    const about = { task: task.task, input: inputTold(task, given), parameters: parametersOf(task, given), order, blind };
    const view = { task: task.task, input: about.input, lines: linesOf(given), blind };
    for (let turn = asked?.turn ?? 0, left = blind ? 1 : Math.min(MOST_REPEATS, Math.max(1, repeats ?? 1)); left > 0; left -= 1) {
      turn += 1;
      ask({ ...view, runId: "", left: left - 1, turn });
      const columns = await running.begin(blind ? shuffled(candidates) : candidates, body, order === "in turn");
      if (columns.every((column) => column.state === "stopped")) return;
      const run = runOf(about, columns);
      store([run, ...saved()]);
      ask({ ...view, runId: run.id, left: left - 1, turn });
      if (columns.some((column) => column.state === "stopped")) return;
    }
  };
  return html`<form onSubmit=${begin}><${Section} title="What to compare">
    <${Choice} label="Task" value=${task.task} onChange=${(/** @type {string} */ v) => choose({ task: v })} options=${TASKS.map((one) => [one.task, one.title])} />
    <${Input} task=${task} given=${given} onChange=${(/** @type {any} */ part) => give((was) => ({ ...was, ...part }))} />
    <${Candidates} all=${all} chosen=${keys} busy=${running.busy} again=${again} onChange=${(/** @type {string[]} */ next) => choose({ chosen: { ...choices.chosen, [task.task]: next } })} />
    <${How} choices=${choices} choose=${choose} repeats=${repeats} repeat=${repeat} />
    <${Failure} error=${problem} />
    <div class="row"><button class="main" disabled=${running.busy}>Compare</button>
      <button type="button" disabled=${!running.busy} onClick=${() => running.stop()}>Stop all</button></div></${Section}></form>
    ${asked && html`<${Results} key=${asked.turn} asked=${asked} running=${running} store=${store} />`}`;
}

/** @param {{choices: Choices, choose: (part: Partial<Choices>) => void, repeats: number | null, repeat: (n: number | null) => void}} props */
function How({ choices, choose, repeats, repeat }) {
  return html`<div class="row">
    <${Choice} label="Order" value=${choices.order} onChange=${(/** @type {any} */ v) => choose({ order: v })} options=${[["together", "all together"], ["in turn", "one after the other, shuffled"]]} />
    ${!choices.blind && html`<${NumberField} label="Times" value=${repeats} min=${1} max=${MOST_REPEATS} step=${1} onChange=${repeat} />`}
    <label class="pick"><input type="checkbox" checked=${choices.blind} onChange=${(/** @type {any} */ e) => choose({ blind: e.currentTarget.checked })} />
      <span>Blind <small>names, order and pace are hidden until you vote</small></span></label></div>
    <p class="quiet">${FAIR}</p>`;
}

// What all saved runs say of each candidate: medians with intervals, and how often it failed.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Section, Table } from "/ui/parts/controls.js";
import { UNKNOWN, latency, money } from "/ui/parts/format.js";
import { named } from "/ui/pages/compare/candidates.js";
import { speed } from "/ui/pages/compare/columns.js";
import { LEAST, summary } from "/ui/pages/compare/numbers.js";
import { DotPlot } from "/ui/pages/compare/plot.js";
import { TASKS } from "/ui/pages/compare/tasks.js";

/** @typedef {import("/ui/pages/compare/runs.js").Run} Run */
/** @typedef {import("/ui/pages/compare/runs.js").Saved} Saved */
/** @typedef {import("/ui/pages/compare/numbers.js").Summary} Summary */
/** @typedef {{name: string, title: string, of: (one: Saved) => number | null, format: (value: number | null) => string}} Measure */

/** @type {Measure[]} */
const MEASURES = [
  { name: "total", title: "Total time", of: (one) => one.totalMs, format: latency },
  { name: "first", title: "Time to the first token", of: (one) => one.firstMs, format: latency },
  { name: "speed", title: "Tokens a second", of: (one) => one.tokensPerS, format: (v) => speed(v) },
  { name: "cost", title: "Cost", of: (one) => one.costUsd, format: money },
  { name: "vote", title: "Votes", of: (one) => one.score, format: (v) => (v === null ? UNKNOWN : v.toFixed(2)) },
];
const ANY = "";

/** @param {{runs: Run[]}} props */
export function Together({ runs }) {
  const tasks = TASKS.filter((task) => runs.some((run) => run.task === task.task));
  const [task, ofTask] = useState(runs[0].task);
  const [order, inOrder] = useState(ANY);
  const [input, ofInput] = useState(ANY);
  const [measured, measure] = useState(MEASURES[0].name);
  const here = runs.filter((run) => run.task === task && (order === ANY || run.order === order));
  const inputs = [...new Set(here.map((run) => run.input))];
  const taken = here.filter((run) => input === ANY || run.input === input);
  const what = MEASURES.find((one) => one.name === measured) ?? MEASURES[0];
  const rows = gathered(taken, what);
  return html`<${Section} title="All saved runs together">
    <div class="row"><${Choice} label="Runs of" value=${task} onChange=${ofTask} options=${tasks.map((one) => [one.task, one.title])} />
      <${Choice} label="Asked" value=${order} onChange=${inOrder} options=${[[ANY, "in any order"], ["together", "all together"], ["in turn", "one after the other"]]} />
      <${Choice} label="Input" value=${input} onChange=${ofInput} options=${[[ANY, "any"], ...inputs.map((one) => [one, one.slice(0, 40)])]} />
      <${Choice} label="Measure" value=${measured} onChange=${measure} options=${MEASURES.map((one) => [one.name, one.title])} /></div>
    <${DotPlot} title=${what.title} rows=${rows} format=${what.format} />
    <${Table} caption=${`${what.title} by candidate: median over the runs in which it answered`} columns=${["candidate", "n", "median", "95 % interval of the median", "failed"]}
      rows=${rows.map(({ name, of, failed, asked }) => [name, of.n, what.format(of.median), interval(of, what), `${failed} of ${asked}`])} empty="No such run." />
    ${mixed(taken, input, order) && html`<p class="quiet">${mixed(taken, input, order)}</p>`}</${Section}>`;
}

/** Each candidate's values, and how often it was asked and failed. @param {Run[]} runs  @param {Measure} what */
function gathered(runs, what) {
  const results = runs.flatMap((run) => run.results).filter((one) => one.state === "done" || one.state === "failed");
  return [...new Set(results.map((one) => one.key))].map((key) => {
    const own = results.filter((one) => one.key === key);
    const done = own.filter((one) => one.state === "done");
    return { name: named(own[0]), of: summary(done.map(what.of)), failed: own.length - done.length, asked: own.length };
  });
}

/** @param {Summary} of  @param {Measure} what */
function interval({ n, low, high }, what) {
  if (low === null || high === null) return n ? `n = ${n} is too small: it takes ${LEAST}` : UNKNOWN;
  return `${what.format(low)} to ${what.format(high)}`;
}

/** What makes these runs hard to compare, in words. @param {Run[]} runs  @param {string} input  @param {string} order */
function mixed(runs, input, order) {
  const several = [
    input === ANY && new Set(runs.map((run) => run.input)).size > 1 && "different inputs",
    order === ANY && new Set(runs.map((run) => run.order)).size > 1 && "both orders",
    new Set(runs.map((run) => JSON.stringify(run.parameters))).size > 1 && "different parameters",
    new Set(runs.map((run) => run.results.map((one) => one.key).sort().join())).size > 1 && "different companies of candidates",
  ].filter(Boolean);
  return several.length ? `These runs have ${several.join(", ")}: narrow them to compare like with like.` : "";
}

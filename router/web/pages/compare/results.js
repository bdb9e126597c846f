// The answers of the run in hand, and the vote on them.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Section } from "/ui/parts/controls.js";
import { Failure } from "/ui/parts/states.js";
import { Columns, letter } from "/ui/pages/compare/columns.js";
import { named } from "/ui/pages/compare/candidates.js";
import { saved } from "/ui/pages/compare/runs.js";
import { taskOf } from "/ui/pages/compare/tasks.js";
import { TIE, scores, sent, whole } from "/ui/pages/compare/voting.js";

const HOW = "The log takes each answer's share of its comparisons won: the best gets 1, and of two the other 0; equal answers share. It moves what the router holds of these models' quality.";

/** @param {{asked: import("/ui/pages/compare.js").Asked, running: ReturnType<typeof import("/ui/pages/compare/running.js").useRunning>, store: (runs: any[]) => void}} props */
export function Results({ asked, running, store }) {
  const { columns, busy } = running;
  const [seen, see] = useState(!asked.blind);
  const [said, say] = useState("");
  const [problem, fail] = useState("");
  const [voting, wait] = useState(false);
  const able = !busy && columns.filter(whole).length > 1;
  const vote = async (/** @type {number} */ best) => {
    wait(true);
    const found = scores(columns, best);
    const refused = await sent(columns, found);
    const taken = found.map((score, i) => (refused.some((one) => one.index === i) ? null : score));
    taken.forEach((score, i) => running.change(i, { score }));
    store(saved().map((run) => (run.id === asked.runId ? { ...run, results: run.results.map((one, i) => ({ ...one, score: taken[i] })) } : run)));
    wait(false);
    see(true);
    fail(refused.map(({ index, problem: why }) => `The vote on ${named(columns[index].candidate)} was not taken: ${why}`).join("\n"));
    const word = best === TIE ? "They are equally good." : `${named(columns[best].candidate)} is best.`;
    say(refused.length ? "" : `Your vote is in the log: ${word}`);
  };
  const button = (/** @type {number} */ index) => able && whole(columns[index]) && html`<p><button type="button" disabled=${voting}
    aria-label=${`This one is best: ${seen ? named(columns[index].candidate) : letter(index)}`} onClick=${() => vote(index)}>This one is best</button>
    ${columns[index].score !== null && html` <small>voted ${columns[index].score?.toFixed(2)}</small>`}</p>`;
  return html`<${Section} title="Answers">
    <p role="status">${told(columns, busy, asked.left)}</p>
    <${Columns} columns=${columns} task=${taskOf(asked.task)} input=${asked.input} lines=${asked.lines} hidden=${!seen} held=${!seen && busy} stop=${running.stop} vote=${button} />
    <div class="row">${able && html`<button type="button" disabled=${voting} onClick=${() => vote(TIE)}>All equally good</button>`}
      ${!seen && !busy && html`<button type="button" onClick=${() => see(true)}>Show names without a vote</button>`}</div>
    <p role="status">${said}</p><${Failure} error=${problem} />
    ${able && html`<p class="quiet">${HOW}</p>`}</${Section}>`;
}

/** @param {import("/ui/pages/compare/asking.js").Column[]} columns  @param {boolean} busy  @param {number} left */
function told(columns, busy, left) {
  const ended = columns.filter(({ state }) => state !== "asked" && state !== "waiting").length;
  const more = left ? ` ${left} more ${left === 1 ? "run" : "runs"} to come.` : "";
  if (busy) return `${ended} of ${columns.length} have ended.${more}`;
  const count = (/** @type {string} */ state) => columns.filter((column) => column.state === state).length;
  const parts = [[count("done"), "done"], [count("failed"), "failed"], [count("stopped"), "stopped"]].filter(([n]) => n);
  const kept = count("stopped") === columns.length ? "Nothing was saved." : "Saved as a run below.";
  return `${parts.map(([n, word]) => `${n} ${word}`).join(", ")}. ${kept}`;
}

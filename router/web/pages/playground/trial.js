// A text under a set of intents: which label, how sure, or none of them.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { served } from "/ui/browser/hybrid.js";
import { Chip, Field, Section } from "/ui/parts/controls.js";
import { useKept } from "/ui/parts/kept.js";
import { Stoppable, useRunning } from "/ui/parts/running.js";
import { Failure } from "/ui/parts/states.js";
import { TaskModel } from "/ui/parts/task_model.js";
import { Bars } from "/ui/pages/playground/bars.js";
import { AlsoHere } from "/ui/pages/playground/here.js";

const TASK = "text-classification";
const UNKNOWN = "unknown"; // the label of what no example is like
const MOST_BARS = 12;

/** @param {{model: string, turn: number, choose: (model: string) => void}} props */
export function Trial({ model, turn, choose }) {
  const [text, type] = useKept("trial.text", "");
  const [found, find] = useKept("trial", /** @type {any} */ (null));
  const running = useRunning();
  const attempt = (/** @type {Event} */ e) => {
    e.preventDefault();
    running.run(async (signal) => {
      find({ text, ...(await served({ model, task: TASK, inputs: text }, signal)) });
    });
  };
  return html`<${Section} title="Try a text"><form class="stack" onSubmit=${attempt}>
      <${Field} label="Text"><input required value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} /></${Field}>
      <${TaskModel} label="Set or model" task=${TASK} value=${model} auto=${false} turn=${turn} onChange=${choose} />
      <${AlsoHere} task=${TASK} model=${model} />
      <div class="row"><button class="main">Classify</button><${Stoppable} of=${running} what="Classifying" /></div></form>
    <${Failure} error=${running.error} />
    <div role="status">${found && !running.busy && html`<${Found} found=${found} />`}</div></${Section}>`;
}

/** @param {{found: any}} props */
function Found({ found: { text, result, backend, model, latency_ms, cost_usd, decision_id, reason, unlogged } }) {
  const [best] = result;
  return html`<p><q>${text}</q> ${best.label === UNKNOWN ? html`is <strong>unknown</strong>: it is like none of the examples.` : html`wants <strong>${best.label}</strong>.`} ${unlogged}</p>
    <${Bars} title="Confidence by label" labels=${result.slice(0, MOST_BARS)} />
    <p><${Chip} backend=${backend} model=${model} latencyMs=${latency_ms} costUsd=${cost_usd} decisionId=${decision_id} reason=${reason} /></p>`;
}

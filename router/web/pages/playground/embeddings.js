// Texts as vectors: how alike they are, and how they lie.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { served } from "/ui/browser/hybrid.js";
import { Chip, Field, Section } from "/ui/parts/controls.js";
import { useKept, useStored } from "/ui/parts/kept.js";
import { Stoppable, useRunning } from "/ui/parts/running.js";
import { Failure } from "/ui/parts/states.js";
import { AUTO, TaskModel } from "/ui/parts/task_model.js";
import { AlsoHere } from "/ui/pages/playground/here.js";
import { Matrix } from "/ui/pages/playground/matrix.js";
import { Projection } from "/ui/pages/playground/projection.js";

const TASK = "feature-extraction";
const MOST = 40; // more would be a table that nobody reads
const FIRST = { model: AUTO, texts: ["The cat sleeps on the sofa", "A kitten naps on the couch", "Interest rates rise again", "The central bank lifts its rate", "How do I bake bread?", "A recipe for sourdough"].join("\n") };

export default function Embeddings() {
  const [wish, change] = useStored("nearfar.playground.embeddings", FIRST);
  const [found, find] = useKept("embeddings", /** @type {{texts: string[], answer: any} | null} */ (null));
  const running = useRunning();
  const texts = wish.texts.split("\n").map((text) => text.trim()).filter(Boolean);
  const embed = (/** @type {Event} */ e) => {
    e.preventDefault();
    running.run(async (signal) => {
      if (texts.length < 2 || texts.length > MOST) throw new Error(`Write 2 to ${MOST} texts, one a line; there are ${texts.length}.`);
      find({ texts, answer: await served({ model: wish.model, task: TASK, inputs: texts }, signal) });
    });
  };
  return html`<${Section} title="Texts to compare"><form class="stack" onSubmit=${embed}>
      <${Field} label="Texts" says=${`One a line, 2 to ${MOST}.`}><textarea rows="7" value=${wish.texts} onInput=${(/** @type {any} */ e) => change({ texts: e.currentTarget.value })}></textarea></${Field}>
      <${TaskModel} task=${TASK} value=${wish.model} onChange=${(/** @type {string} */ model) => change({ model })} />
      <${AlsoHere} task=${TASK} model=${wish.model} />
      <div class="row"><button class="main">Embed</button><${Stoppable} of=${running} what="Embedding" /></div></form>
      <${Failure} error=${running.error} /></${Section}>
    ${found && html`<${Found} texts=${found.texts} answer=${found.answer} />`}`;
}

/** @param {{texts: string[], answer: any}} props */
function Found({ texts, answer }) {
  const vectors = answer.result;
  const chip = html`<${Chip} backend=${answer.backend} model=${answer.model} latencyMs=${answer.latency_ms} costUsd=${answer.cost_usd} decisionId=${answer.decision_id} reason=${answer.reason} />`;
  return html`<p class="quiet" role="status">${`${vectors.length} vectors of ${vectors[0].length} numbers. ${answer.unlogged}`}</p>
    <${Section} title="Similarity" actions=${chip}><${Matrix} texts=${texts} vectors=${vectors} /></${Section}>
    <${Section} title="Projection"><${Projection} texts=${texts} vectors=${vectors} /></${Section}>`;
}

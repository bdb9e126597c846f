// The tier in this page: load its models, try them, and let the policy choose between the page, the server and what is far.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { served } from "/ui/browser/hybrid.js";
import { BUILTIN, EMBEDDING, SPEECH, tier } from "/ui/browser/tier.js";
import { BrowserTier, useTier } from "/ui/parts/browser_tier.js";
import { Chip, Field, Section } from "/ui/parts/controls.js";
import { Stoppable, useRunning } from "/ui/parts/running.js";
import { Failure } from "/ui/parts/states.js";
import { Bars } from "/ui/pages/playground/bars.js";
import { Drop } from "/ui/pages/playground/drop.js";

const MOST_BARS = 5;

export default function Browser() {
  const { models } = useTier();
  return html`<${BrowserTier} /><${BrowserTier} task=${SPEECH} what="Speech recognition" />
    ${models[EMBEDDING].phase === "ready" && html`<${Intent} /><${Anywhere} model=${models[EMBEDDING].model} />`}
    ${models[SPEECH].phase === "ready" && html`<${Heard} model=${models[SPEECH].model} />`}`;
}

function Intent() {
  const [text, type] = useState("");
  const [found, find] = useState(/** @type {any} */ (null));
  const running = useRunning();
  const classify = (/** @type {Event} */ e) => { e.preventDefault(); running.run(async (signal) => find(await tier.intent(BUILTIN, text, signal))); };
  return html`<${Section} title="What a text wants, told by this page"><form class="row" onSubmit=${classify}>
      <${Field} label="Text"><input required value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} /></${Field}><button>Classify here</button></form>
    <${Stoppable} of=${running} what="Classifying" /><${Failure} error=${running.error} />
    <div role="status">${found && html`<${Bars} title="Confidence by label" labels=${found.labels.slice(0, MOST_BARS)} />
      <${Chip} backend="browser" latencyMs=${found.ms} costUsd=${0} />`}</div></${Section}>`;
}

/** @param {{model: string}} props */
function Anywhere({ model }) {
  const [texts, type] = useState("The cat sleeps on the sofa\nA kitten naps on the couch");
  const [found, find] = useState(/** @type {import("/ui/browser/hybrid.js").Served | null} */ (null));
  const running = useRunning();
  const embed = (/** @type {Event} */ e) => {
    e.preventDefault();
    const lines = texts.split("\n").map((text) => text.trim()).filter(Boolean);
    running.run(async (signal) => find(await served({ model, task: EMBEDDING, inputs: lines }, signal)));
  };
  return html`<${Section} title="Where it is best: this page, the server, or far"><form class="stack" onSubmit=${embed}>
      <${Field} label="Texts to embed" says="One a line. The policy is told what this page measured of itself."><textarea rows="3" required value=${texts} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)}></textarea></${Field}>
      <button>Embed where it is best</button></form>
    <${Stoppable} of=${running} what="Embedding" /><${Failure} error=${running.error} />
    <div role="status">${found && html`<p>${found.result.length} vectors of ${found.result[0].length} numbers. ${found.unlogged}</p>
      <${Chip} backend=${found.backend} model=${found.model} latencyMs=${found.latency_ms} costUsd=${found.cost_usd} decisionId=${found.decision_id} reason=${found.reason} />`}</div></${Section}>`;
}

/** @param {{model: string}} props */
function Heard({ model }) {
  const [found, find] = useState(/** @type {any} */ (null));
  const running = useRunning();
  const hear = (/** @type {File} */ file) => running.run(async () => find({ name: file.name, ...(await tier.transcribe(file)) }));
  return html`<${Section} title="A recording, written down by this page"><${Drop} label="Drop a recording here, or choose it" kind="audio" says="It does not leave this page." take=${hear} />
    <${Stoppable} of=${running} what="Listening" /><${Failure} error=${running.error} />
    <div role="status">${found && html`<p><b>${found.name}:</b> ${found.text}</p><${Chip} backend="browser" model=${model} latencyMs=${found.ms} costUsd=${0} />`}</div></${Section}>`;
}

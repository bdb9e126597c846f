// "In this browser": load a model into the page, see what it takes and how fast it is, give it back.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { EMBEDDING, tier } from "/ui/browser/tier.js";
import { Section } from "/ui/parts/controls.js";
import { UNKNOWN, bytes, latency } from "/ui/parts/format.js";
import { Failure } from "/ui/parts/states.js";

/** The state of the browser tier, shown anew whenever it changes. */
export function useTier() {
  const [state, show] = useState(tier.state);
  useEffect(() => {
    show(tier.state);
    return tier.watch(() => show(tier.state));
  }, []);
  return state;
}

/** @param {{task?: string, what?: string}} props `what` the model is used for, in words */
export function BrowserTier({ task = EMBEDDING, what = "Embeddings and intents" }) {
  const { models, threads, offline } = useTier();
  const model = models[task];
  const stop = useRef(/** @type {AbortController | null} */ (null));
  const load = () => { stop.current = new AbortController(); tier.load(task, stop.current.signal); };
  return html`<${Section} title="In this browser"><${Failure} error=${model.phase === "failed" && model.why} again=${load} />
    ${model.phase === "absent" && html`<p>${what} can be computed in this page: nothing you write leaves it then, and it works without the server.
      The model and its runtime are downloaded once from this server, about 40 MB.</p>
      <button type="button" class="main" onClick=${load}>Load into this browser</button>`}
    ${model.phase === "loading" && html`<${Loading} model=${model} stop=${() => stop.current?.abort()} />`}
    ${model.phase === "ready" && html`<${Ready} model=${model} threads=${threads} offline=${offline} />`}</${Section}>`;
}

/** @param {{model: import("/ui/browser/tier.js").Model, stop: () => void}} props */
function Loading({ model, stop }) {
  const arrived = model.total !== null && model.loaded >= model.total;
  const said = arrived ? "Preparing the model, and comparing its vectors with the server's" : "Loading the model";
  return html`<p role="status">${said} …</p>
    <p class="row"><progress aria-label="Model files" max=${model.total ?? 1} value=${model.total === null ? null : model.loaded}></progress>
    <span>${bytes(model.loaded)} of ${bytes(model.total)}</span><button type="button" onClick=${stop}>Stop</button></p>`;
}

/** @param {{model: import("/ui/browser/tier.js").Model, threads: number | null, offline: boolean}} props */
function Ready({ model, threads, offline }) {
  const { speed } = model;
  const middle = speed ? [...speed.ms].sort((a, b) => a - b)[Math.floor(speed.ms.length / 2)] : null;
  return html`<p role="status"><b class="side browser">Ready in this browser:</b> ${model.model}</p>
    <dl class="facts"><div><dt>A text of ${speed?.tokens ?? UNKNOWN} tokens</dt><dd>${latency(middle)}</dd></div>
      <div><dt>Loaded in</dt><dd>${latency(model.loadMs)}</dd></div><div><dt>Size</dt><dd>${bytes(model.bytes)}</dd></div>
      <div><dt>Threads</dt><dd>${threads ?? UNKNOWN}</dd></div>
      <div><dt>Like the server's vectors</dt><dd>${model.parity === null ? UNKNOWN : `cosine ${model.parity.toFixed(4)} or more`}</dd></div>
      <div><dt>Without the server</dt><dd>${offline ? "works, also after a reload" : "until this page is closed"}</dd></div></dl>
    <button type="button" onClick=${() => tier.unload()}>Unload</button>`;
}

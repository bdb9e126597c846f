// "In this browser": load a model into the page, see what it takes and how fast it is, give it back.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { EMBEDDING, middleMs, tier } from "/ui/browser/tier.js";
import { Section } from "/ui/parts/controls.js";
import { UNKNOWN, bytes, latency } from "/ui/parts/format.js";
import { Failure, useAsked } from "/ui/parts/states.js";

const DEVICES = { webgpu: "the graphics card (WebGPU)", wasm: "the processor (WebAssembly)" };

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
  return html`<${Section} title=${`In this browser: ${what.toLowerCase()}`}><${Failure} error=${model.phase === "failed" && model.why} again=${load} />
    ${model.phase === "absent" && html`<${Offer} task=${task} what=${what} load=${load} />`}
    ${model.phase === "loading" && html`<${Loading} model=${model} stop=${() => stop.current?.abort()} />`}
    ${model.phase === "ready" && html`<${Ready} task=${task} model=${model} threads=${threads} offline=${offline} />`}</${Section}>`;
}

/** @param {{task: string, what: string, load: () => void}} props */
function Offer({ task, what, load }) {
  const { data } = useAsked("/browser-models");
  const size = data?.models.find((/** @type {any} */ one) => one.task === task)?.bytes;
  const card = task === EMBEDDING && data?.libraries.gpu.available ? ` (${bytes(data.libraries.gpu.bytes)} on a graphics card)` : "";
  const once = size ? `It is downloaded from this server once: ${bytes(size)}, and ${bytes(data.libraries.bytes)} for what computes it${card}.` : "";
  return html`<p>${what} can be computed in this page: what you give it does not leave it then, and it works without the server. ${once}</p>
    <button type="button" class="main" onClick=${load}>Load into this browser</button>`;
}

/** @param {{model: import("/ui/browser/tier.js").Model, stop: () => void}} props */
function Loading({ model, stop }) {
  const arrived = model.total !== null && model.loaded >= model.total;
  const said = arrived ? "The model is here and being prepared" : "Loading the model";
  return html`<p role="status">${said} …</p>
    <p class="row"><progress aria-label="Model files" max=${model.total ?? 1} value=${model.total === null ? null : model.loaded}></progress>
    <span>${bytes(model.loaded)} of ${bytes(model.total)}</span><button type="button" onClick=${stop}>Stop</button></p>`;
}

/** @param {{task: string, model: import("/ui/browser/tier.js").Model, threads: number | null, offline: boolean}} props */
function Ready({ task, model, threads, offline }) {
  const { speed } = model;
  return html`<p role="status"><b class="side browser">Ready in this browser:</b> ${model.model}</p>
    <dl class="abilities">${speed && html`<div><dt>A text of ${speed.tokens} tokens</dt><dd>${latency(middleMs(speed))}</dd></div>`}
      <div><dt>Loaded in</dt><dd>${latency(model.loadMs)}</dd></div><div><dt>Size</dt><dd>${bytes(model.bytes)}</dd></div>
      <div><dt>Runs on</dt><dd>${model.device ? DEVICES[model.device] : UNKNOWN}</dd></div><div><dt>Threads</dt><dd>${threads ?? UNKNOWN}</dd></div>
      ${model.parity !== null && html`<div><dt>Like the server's vectors</dt><dd>cosine ${model.parity.toFixed(4)} or more</dd></div>`}
      <div><dt>Without the server</dt><dd>${offline ? "works, also after a reload" : "until this page is closed"}</dd></div></dl>
    ${model.notCard && html`<p class="quiet">Not on the graphics card: ${model.notCard}.</p>`}
    <button type="button" onClick=${() => tier.unload(task)}>Unload</button>`;
}

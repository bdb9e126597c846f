// One recording, and what is understood of it, as it comes.
import { html, useEffect } from "/ui/vendor/htm/standalone.module.js";
import { ApiError, stream } from "/ui/api.js";
import { Chip, Section, Table } from "/ui/parts/controls.js";
import { UNKNOWN } from "/ui/parts/format.js";
import { dataUrl } from "/ui/parts/files.js";
import { Stoppable, useRunning } from "/ui/parts/running.js";
import { Failure } from "/ui/parts/states.js";

const TASK = "automatic-speech-recognition";

/** `text` is what was understood so far, `answer` the server's last word. @typedef {{id: string, file: File, url: string, text: string, answer: any}} Recording */
/** @typedef {{model: string, language: string, timestamps: string}} Wish */

/** @param {{recording: Recording, wish: Wish, changed: (fields: Partial<Recording>) => void, remove: () => void}} props */
export function Transcript({ recording, wish, changed, remove }) {
  const { file, url, text, answer } = recording;
  const running = useRunning();
  const write = () => running.run((signal) => written(file, wish, changed, signal));
  useEffect(() => { if (!answer) write(); }, []);
  const half = text && !answer && !running.busy;
  const actions = html`<div class="row"><button type="button" disabled=${running.busy} onClick=${write}>Write down again</button><button type="button" onClick=${remove}>Remove</button></div>`;
  return html`<${Section} title=${file.name} actions=${actions}>
    <audio controls src=${url} aria-label=${`The recording ${file.name}`}></audio>
    <${Stoppable} of=${running} what="Listening" /><${Failure} error=${running.error} again=${write} />
    <p class="transcript" role="status">${answer ? answer.result.text.trim() || "Nothing was said in it." : text}</p>
    ${half && html`<p class="quiet">This is not all of it: it broke off or was cancelled.</p>`}
    ${answer && html`<${Times} chunks=${answer.result.chunks} />
      <p><${Chip} backend=${answer.backend} model=${answer.model} latencyMs=${answer.latency_ms} costUsd=${answer.cost_usd} decisionId=${answer.decision_id} reason=${answer.reason} /></p>`}</${Section}>`;
}

/** @param {{chunks: {text: string, timestamp: [number | null, number | null]}[]}} props */
function Times({ chunks }) {
  const at = (/** @type {number | null} */ s) => (s === null ? UNKNOWN : `${s.toFixed(2)} s`);
  const rows = chunks.map(({ text, timestamp: [start, end] }) => [at(start), at(end), text.trim()]);
  return html`<details><summary>When what was said</summary><${Table} caption="What was said when" columns=${["from", "to", "what"]} rows=${rows} empty="Nobody told the times." /></details>`;
}

/** @param {File} file  @param {Wish} wish  @param {(fields: Partial<Recording>) => void} changed  @param {AbortSignal} signal */
async function written(file, { model, language, timestamps }, changed, signal) {
  if (!file.size) throw new Error("The recording is empty.");
  changed({ text: "", answer: null });
  const parameters = { timestamps, ...(language && { language }) };
  const asked = { model, task: TASK, inputs: await dataUrl(file), parameters, stream: true };
  let text = "";
  for await (const { name, data } of stream("/v1/inference", asked, { signal })) {
    if (name === "delta") changed({ text: (text += data.text) });
    else if (name === "continued") changed({ text: (text = text.slice(0, data.from_char)) });
    else if (name === "error") throw new ApiError(data.error.message, { code: data.error.code, decisionId: data.error.decision_id });
    else if (name === "result") return changed({ answer: data });
  }
  throw new ApiError("The server ended before all was written down; try it again.");
}

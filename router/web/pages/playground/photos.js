// What photos show: dropped or chosen, each with the labels that the model gives it.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { post } from "/ui/api.js";
import { Chip, NumberField, Section } from "/ui/parts/controls.js";
import { dataUrl } from "/ui/parts/files.js";
import { useKept, useStored } from "/ui/parts/kept.js";
import { Stoppable, useRunning } from "/ui/parts/running.js";
import { Failure } from "/ui/parts/states.js";
import { AUTO, TaskModel } from "/ui/parts/task_model.js";
import { Bars } from "/ui/pages/playground/bars.js";
import { Drop } from "/ui/pages/playground/drop.js";

const TASK = "image-classification";

/** @typedef {{id: string, file: File, url: string, answer: any}} Photo */

export default function Photos() {
  const [wish, change] = useStored("nearfar.playground.photos", { model: AUTO, top: /** @type {number | null} */ (5) });
  const [photos, keep] = useKept("photos", /** @type {Photo[]} */ ([]));
  const take = (/** @type {File} */ file) => keep((all) => [{ id: crypto.randomUUID(), file, url: URL.createObjectURL(file), answer: null }, ...all]);
  const answered = (/** @type {Photo} */ photo, /** @type {any} */ answer) => keep((all) => all.map((one) => (one.id === photo.id ? { ...one, answer } : one)));
  const remove = (/** @type {Photo} */ photo) => { URL.revokeObjectURL(photo.url); keep((all) => all.filter(({ id }) => id !== photo.id)); };
  return html`<${Section} title="Photos to classify"><div class="stack">
      <div class="row top"><${TaskModel} task=${TASK} value=${wish.model} onChange=${(/** @type {string} */ model) => change({ model })} />
        <${NumberField} label="Labels at most" min=${1} value=${wish.top} placeholder="all" onChange=${(/** @type {number | null} */ top) => change({ top })} /></div>
      <${Drop} label="Drop photos here, or choose them" kind="image" says="PNG, JPEG, WebP and the like. They go to the server that this page came from." take=${take} /></div></${Section}>
    ${photos.map((photo) => html`<${Classified} key=${photo.id} photo=${photo} wish=${wish} answered=${(/** @type {any} */ answer) => answered(photo, answer)} remove=${() => remove(photo)} />`)}`;
}

/** @param {{photo: Photo, wish: {model: string, top: number | null}, answered: (answer: any) => void, remove: () => void}} props */
function Classified({ photo, wish, answered, remove }) {
  const { file, url, answer } = photo;
  const running = useRunning();
  const [drawn, see] = useState(true);
  const classify = () => running.run(async (signal) => {
    if (!file.size) throw new Error("The file is empty.");
    const inputs = await dataUrl(file);
    const { body } = await post("/v1/inference", { model: wish.model, task: TASK, inputs, parameters: { top_k: wish.top } }, { signal });
    answered(body);
  });
  useEffect(() => { if (!answer) classify(); }, []);
  const actions = html`<div class="row"><button type="button" disabled=${running.busy} onClick=${classify}>Classify again</button><button type="button" onClick=${remove}>Remove</button></div>`;
  return html`<${Section} title=${file.name} actions=${actions}><div class="photo">
      ${drawn ? html`<img src=${url} alt=${`The photo ${file.name}`} onError=${() => see(false)} />` : html`<p class="quiet">This browser cannot show it.</p>`}
      <div><${Stoppable} of=${running} what="Classifying" /><${Failure} error=${running.error} again=${classify} />
      <div role="status">${answer && html`<${Bars} title=${`Labels of ${file.name}`} labels=${answer.result} />`}</div>
      ${answer && html`<p><${Chip} backend=${answer.backend} model=${answer.model} latencyMs=${answer.latency_ms} costUsd=${answer.cost_usd} decisionId=${answer.decision_id} reason=${answer.reason} /></p>`}
      </div></div></${Section}>`;
}

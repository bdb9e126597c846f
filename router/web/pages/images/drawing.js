// The pictures of this visit, and those that are being drawn. Drawing goes on while another page is looked at.
import { useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { ApiError, stream } from "/ui/api.js";
import { imageFile } from "/ui/parts/files.js";

/** What somebody wants to see; null is the model's own.
 * @typedef {{prompt: string, negative: string, model: string, steps: number | null, guidance: number | null, width: number | null, height: number | null, seed: number | null}} Wish */

/** @typedef {"drawing" | "done" | "cancelled" | "failed"} State */

/** @typedef {{id: number, wish: Wish, state: State, step: number, steps: number | null, stop: AbortController,
 *   decisionId: string | null, goesOn: string, error: unknown, url: string, extension: string, seed: number | null, answer: any}} Picture */

/** @type {Picture[]} newest first */
let pictures = [];
let ids = 0;
const news = new EventTarget();

/** @returns {Picture[]} newest first */
export function usePictures() {
  const [, turn] = useState(0);
  useEffect(() => {
    const heard = () => turn((n) => n + 1);
    news.addEventListener("change", heard);
    return () => news.removeEventListener("change", heard);
  }, []);
  return pictures;
}

/** Draw it; how that goes is told by `usePictures`. @param {Wish} wish */
export async function draw(wish) {
  const id = (ids += 1);
  const stop = new AbortController();
  /** @type {Picture} */
  const begun = { id, wish, state: "drawing", step: 0, steps: null, stop, decisionId: null, goesOn: "", error: null, url: "", extension: "", seed: null, answer: null };
  pictures = [begun, ...pictures];
  news.dispatchEvent(new Event("change"));
  try {
    await follow(id, body(wish), stop.signal);
  } catch (error) {
    if (stop.signal.aborted) change(id, { state: "cancelled" });
    else change(id, { state: "failed", error, ...(error instanceof ApiError && error.decisionId && { decisionId: error.decisionId }) });
  }
}

/** Take a picture away, and stop drawing it. @param {Picture} picture */
export function remove(picture) {
  picture.stop.abort();
  if (picture.url) URL.revokeObjectURL(picture.url);
  pictures = pictures.filter(({ id }) => id !== picture.id);
  news.dispatchEvent(new Event("change"));
}

/** @param {number} id  @param {Partial<Picture>} fields */
function change(id, fields) {
  pictures = pictures.map((picture) => (picture.id === id ? { ...picture, ...fields } : picture));
  news.dispatchEvent(new Event("change"));
}

/** @param {number} id  @param {object} asked  @param {AbortSignal} signal */
async function follow(id, asked, signal) {
  const began = (/** @type {Headers} */ headers) => change(id, { decisionId: headers.get("x-nearfar-decision-id") });
  for await (const { name, data } of stream("/v1/inference", asked, { signal, began })) {
    if (name === "progress") change(id, { step: data.step, steps: data.steps });
    else if (name === "continued") change(id, { step: 0, goesOn: `${data.model} (${data.provider}) goes on in its place` });
    else if (name === "error") throw new ApiError(data.error.message, { code: data.error.code, decisionId: data.error.decision_id });
    else if (name === "result") return change(id, { state: "done", answer: data, seed: data.result.seed, ...imageFile(data.result.image) });
  }
  throw new ApiError("The server ended before the picture was there; draw it again.");
}

/** @param {Wish} wish */
function body({ prompt, negative, model, steps, guidance, width, height, seed }) {
  const wanted = { negative_prompt: negative || null, steps, guidance_scale: guidance, width, height, seed };
  const given = Object.entries(wanted).filter(([, value]) => value !== null);
  return { model, task: "text-to-image", inputs: prompt, parameters: Object.fromEntries(given), stream: true };
}

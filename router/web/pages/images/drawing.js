// The drawings of this visit, each of one picture or several, and those under way. They go on while another page is looked at.
import { useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { ApiError, stream } from "/ui/api.js";
import { imageFile } from "/ui/parts/files.js";

/** What somebody wants to see; null is the model's own; of `n`, it is one.
 * @typedef {{prompt: string, negative: string, model: string, steps: number | null, guidance: number | null, width: number | null, height: number | null, seed: number | null, n: number | null}} Wish */

/** @typedef {"drawing" | "done" | "cancelled" | "failed"} State */

/** @typedef {{url: string, extension: string, seed: number | null}} Image a file with an address of its own */

/** `steps` are those of all its pictures, which are drawn one after the other.
 * @typedef {{id: number, wish: Wish, state: State, step: number, steps: number | null, stop: AbortController,
 *   decisionId: string | null, goesOn: string, error: unknown, images: Image[], answer: any}} Drawing */

/** @type {Drawing[]} newest first */
let drawings = [];
let ids = 0;
const news = new EventTarget();

/** @returns {Drawing[]} newest first */
export function useDrawings() {
  const [, turn] = useState(0);
  useEffect(() => {
    const heard = () => turn((n) => n + 1);
    news.addEventListener("change", heard);
    return () => news.removeEventListener("change", heard);
  }, []);
  return drawings;
}

/** Draw it; how that goes is told by `useDrawings`. @param {Wish} wish */
export async function draw(wish) {
  const id = (ids += 1);
  const stop = new AbortController();
  /** @type {Drawing} */
  const begun = { id, wish, state: "drawing", step: 0, steps: null, stop, decisionId: null, goesOn: "", error: null, images: [], answer: null };
  drawings = [begun, ...drawings];
  news.dispatchEvent(new Event("change"));
  try {
    await follow(id, body(wish), stop.signal);
  } catch (error) {
    if (stop.signal.aborted) change(id, { state: "cancelled" });
    else change(id, { state: "failed", error, ...(error instanceof ApiError && error.decisionId && { decisionId: error.decisionId }) });
  }
}

/** Take a drawing away, and stop it. @param {Drawing} drawing */
export function remove(drawing) {
  drawing.stop.abort();
  for (const { url } of drawing.images) URL.revokeObjectURL(url);
  drawings = drawings.filter(({ id }) => id !== drawing.id);
  news.dispatchEvent(new Event("change"));
}

/** @param {number} id  @param {Partial<Drawing>} fields */
function change(id, fields) {
  drawings = drawings.map((drawing) => (drawing.id === id ? { ...drawing, ...fields } : drawing));
  news.dispatchEvent(new Event("change"));
}

/** @param {number} id  @param {object} asked  @param {AbortSignal} signal */
async function follow(id, asked, signal) {
  const began = (/** @type {Headers} */ headers) => change(id, { decisionId: headers.get("x-nearfar-decision-id") });
  for await (const { name, data } of stream("/v1/inference", asked, { signal, began })) {
    if (name === "progress") change(id, { step: data.step, steps: data.steps });
    else if (name === "continued") change(id, { step: 0, goesOn: `${data.model} (${data.provider}) goes on in its place` });
    else if (name === "error") throw new ApiError(data.error.message, { code: data.error.code, decisionId: data.error.decision_id });
    else if (name === "result") return change(id, { state: "done", answer: data, images: [data.result].flat().map(({ image, seed }) => ({ seed, ...imageFile(image) })) });
  }
  throw new ApiError("The server ended before the picture was there; draw it again.");
}

/** @param {Wish} wish */
function body({ prompt, negative, model, steps, guidance, width, height, seed, n }) {
  const wanted = { negative_prompt: negative || null, steps, guidance_scale: guidance, width, height, seed, n };
  const given = Object.entries(wanted).filter(([, value]) => value !== null);
  return { model, task: "text-to-image", inputs: prompt, parameters: Object.fromEntries(given), stream: true };
}

// What a model runs on: the graphics card (WebGPU) where one answers and can be used, else the processor (WebAssembly).

export const CARD = "webgpu";
export const PROCESSOR = "wasm";

const PATIENCE_MS = 60_000;

/** `why` it is not the graphics card. @typedef {{device: "webgpu" | "wasm", why: string}} Choice */

/** The weights are the same 8-bit file on both, so the vectors lie in one space; whether they do is probed after loading.
 * @param {string} task  @param {{available: boolean, why: string | null}} runtime the server's files for graphics cards  @returns {Promise<Choice>} */
export async function chosen(task, runtime) {
  const { gpu } = /** @type {any} */ (navigator);
  if (task === "automatic-speech-recognition") return processor("this model's 8-bit arithmetic is made for the processor");
  if (!gpu) return processor("this browser has no WebGPU, or not for pages that come over plain HTTP from another machine");
  if (!("Suspending" in WebAssembly)) return processor("this browser's WebAssembly cannot wait for a graphics card (JSPI)");
  if (!runtime.available) return processor(runtime.why ?? "the server lacks the files for it");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return processor("no graphics card answers");
  if (adapter.info?.isFallbackAdapter) return processor("the only graphics card is one that the processor imitates");
  return { device: CARD, why: "" };
}

/** Ends what has been silent for a minute: some cards neither answer nor fail.
 * @param {(why: string) => void} end  @returns {{heard: () => void, stop: () => void}} */
export function patience(end) {
  const wait = () => setTimeout(() => end(`it did not answer for ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
  let timer = wait();
  return { heard() { clearTimeout(timer); timer = wait(); }, stop() { clearTimeout(timer); } };
}

/** @param {string} why  @returns {Choice} */
function processor(why) {
  return { device: PROCESSOR, why };
}

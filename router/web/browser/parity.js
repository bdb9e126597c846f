// Whether vectors computed here are the server's: one space, or nothing that was fitted there means anything here.
import { ApiError, post } from "/ui/api.js";
import { cosine } from "/ui/browser/head.js";

export const FLOOR = 0.99;
const KEPT = "nearfar.browser.parity";
const LONG = "The quick brown fox jumps over the lazy dog while seven sleepy sailors watch the harbour lights. ";
/** One word, a sentence, other scripts, code, and more than is read. */
export const PROBES = [
  "hello", "What is the capital of France?", "Größe, naïve café — Übermut; 東京は日本の首都です。 Привет, мир!",
  "def encode(self, sequences): return [len(s) for s in sequences]  # 1_000.50", LONG.repeat(20),
];

/** The server's vectors of the probes; null where it cannot be reached. @param {string} model  @param {AbortSignal} signal  @returns {Promise<number[][] | null>} */
export async function servers(model, signal) {
  try {
    const routing = { backend: "local", private: true, explore: false };
    const { body } = await post("/v1/embeddings", { model, input: PROBES, truncate: true, routing }, { signal });
    return body.data.map((/** @type {any} */ one) => one.embedding);
  } catch (error) {
    if (error instanceof ApiError && error.lost) return null;
    throw error;
  }
}

/** The smallest cosine between vectors of the same texts. @param {Float32Array[]} own  @param {number[][]} theirs */
export function agreement(own, theirs) {
  return Math.min(...own.map((vector, i) => cosine(vector, theirs[i])));
}

/** Keep what was found of one version of a model on a device, for when the server is away.
 * @param {string} at  @param {string} device  @param {number} found */
export function keep(at, device, found) {
  localStorage.setItem(`${KEPT}.${device}`, JSON.stringify({ at, found }));
}

/** What was found of this version on this device before; null where nothing was. @param {string} at  @param {string} device  @returns {number | null} */
export function before(at, device) {
  const kept = JSON.parse(localStorage.getItem(`${KEPT}.${device}`) ?? "null");
  return kept?.at === at ? kept.found : null;
}

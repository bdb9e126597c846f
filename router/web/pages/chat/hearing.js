// What was spoken, written down by the server's own choice of model.
import { post } from "/ui/api.js";

/** @param {Blob} sound  @param {boolean} onlyNear it does not leave the server's machine  @param {AbortSignal} signal  @returns {Promise<string>} */
export async function writtenDown(sound, onlyNear, signal) {
  const form = new FormData();
  form.append("file", sound, "spoken");
  form.append("routing", JSON.stringify({ private: onlyNear }));
  const { body } = await post("/v1/audio/transcriptions", form, { signal });
  const words = body.text.trim();
  if (!words) throw new Error("No words were heard. Speak nearer to the microphone, and try again.");
  return words;
}

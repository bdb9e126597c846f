// What was spoken, written down: by this page where its speech model is loaded, else by the server's own choice of model.
import { post } from "/ui/api.js";
import { SPEECH, tier } from "/ui/browser/tier.js";

/** @param {Blob} sound  @param {boolean} onlyNear it does not leave the server's machine  @param {AbortSignal} signal  @returns {Promise<string>} */
export async function writtenDown(sound, onlyNear, signal) {
  const words = tier.ready(SPEECH) ? (await tier.transcribe(sound)).text.trim() : await byServer(sound, onlyNear, signal);
  if (!words) throw new Error("No words were heard. Speak nearer to the microphone, and try again.");
  return words;
}

/** @param {Blob} sound  @param {boolean} onlyNear  @param {AbortSignal} signal */
async function byServer(sound, onlyNear, signal) {
  const form = new FormData();
  form.append("file", sound, "spoken");
  form.append("routing", JSON.stringify({ private: onlyNear }));
  const { body } = await post("/v1/audio/transcriptions", form, { signal });
  return body.text.trim();
}

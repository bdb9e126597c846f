// What can be compared, and the request that the given input means for each task.

/** @typedef {{text: string, labels: string, file: File | null, maxTokens: number | null, temperature: number | null, steps: number | null, seed: number | null}} Given */
/** @typedef {{task: string, title: string, streamed: boolean, words: boolean, input: string, lines?: boolean, accept?: string}} Task
 * `words`: its answer is a text that comes in tokens; `accept`: it takes a file of this kind instead of a text */

/** @type {Task[]} */
export const TASKS = [
  { task: "text-generation", title: "Text generation", streamed: true, words: true, input: "Prompt" },
  { task: "feature-extraction", title: "Embeddings", streamed: false, words: false, input: "Texts, one a line", lines: true },
  { task: "text-classification", title: "Text classification", streamed: false, words: false, input: "Text" },
  { task: "zero-shot-classification", title: "Classification by labels", streamed: false, words: false, input: "Text" },
  { task: "image-classification", title: "Image classification", streamed: false, words: false, input: "Image", accept: "image/*" },
  { task: "text-to-image", title: "Images", streamed: true, words: false, input: "What to draw" },
  { task: "automatic-speech-recognition", title: "Transcription", streamed: true, words: true, input: "Recording", accept: "audio/*,video/webm" },
];

/** @type {Given} */
export const NOTHING = { text: "", labels: "", file: null, maxTokens: 64, temperature: null, steps: null, seed: null };

/** @param {string} name  @returns {Task} */
export function taskOf(name) {
  return TASKS.find((one) => one.task === name) ?? TASKS[0];
}

/** What is still missing, in words; empty when it can be asked. @param {Task} task  @param {Given} given */
export function missing(task, given) {
  if (task.accept) return given.file ? "" : "Choose a file first.";
  if (!given.text.trim()) return "Write something first.";
  return task.task === "zero-shot-classification" && !labelsOf(given).length ? "Name the labels first." : "";
}

/** The body of `POST /v1/inference` without model and routing. @param {Task} task  @param {Given} given */
export async function bodyOf(task, given) {
  return { task: task.task, inputs: await inputsOf(task, given), parameters: parametersOf(task, given), stream: task.streamed };
}

/** What is said of the input in a saved run: the text, or the file's name. @param {Task} task  @param {Given} given */
export function inputTold(task, given) {
  return task.accept ? (given.file?.name ?? "") : given.text.trim();
}

/** The parameters that are set. @param {Task} task  @param {Given} given  @returns {Record<string, unknown>} */
export function parametersOf(task, given) {
  /** @type {Record<string, unknown>} */
  const all = {
    "text-generation": { max_tokens: given.maxTokens, temperature: given.temperature, seed: given.seed },
    "text-to-image": { steps: given.steps, seed: given.seed },
    "zero-shot-classification": { candidate_labels: labelsOf(given) },
  }[task.task] ?? {};
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}

/** @param {Given} given  @returns {string[]} */
export function linesOf(given) {
  return given.text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** @param {Given} given */
function labelsOf(given) {
  return given.labels.split(",").map((label) => label.trim()).filter(Boolean);
}

/** @param {Task} task  @param {Given} given  @returns {Promise<unknown>} */
async function inputsOf(task, given) {
  if (task.accept && given.file) return dataUrl(given.file);
  if (task.lines) return linesOf(given);
  return task.task === "text-generation" ? [{ role: "user", content: given.text }] : given.text;
}

/** @param {File} file  @returns {Promise<string>} */
function dataUrl(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result));
    reader.onerror = () => fail(new Error(`${file.name} could not be read: choose it again.`));
    reader.readAsDataURL(file);
  });
}

// The runs that were saved, in this browser alone. They are bounded: the oldest go first.

/** @typedef {{key: string, model: string, provider: string, backend: string, state: string, firstMs: number | null, totalMs: number | null, tokens: number | null,
 *   tokensPerS: number | null, costUsd: number | null, costSource: string | null, text: string, problem: string, decisionId: string, score: number | null}} Saved */
/** @typedef {{id: string, name: string, at: string, task: string, input: string, parameters: Record<string, unknown>, order: "together" | "in turn", blind: boolean, results: Saved[]}} Run */
/** @typedef {import("/ui/pages/compare/asking.js").Column} Column */

const PLACE = "nearfar.compare.runs";
export const MOST_RUNS = 100;
const MOST_TEXT = 2000;

/** Newest first. @returns {Run[]} */
export function saved() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(found) ? found.filter((run) => Array.isArray(run?.results)) : [];
  } catch {
    return []; // what somebody else wrote there is no run
  }
}

/** Keep these, as many as there may be. @param {Run[]} runs  @returns {Run[]} those kept
 * @throws {Error} the browser has no room, or allows none */
export function keep(runs) {
  const kept = runs.slice(0, MOST_RUNS);
  try {
    localStorage.setItem(PLACE, JSON.stringify(kept));
  } catch {
    throw new Error("This browser has no room left for the run: export and delete some of those saved.");
  }
  return kept;
}

/** @param {Omit<Run, "id" | "at" | "name" | "results">} about  @param {Column[]} columns  @returns {Run} */
export function runOf(about, columns) {
  const input = cut(about.input);
  return { ...about, input, id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`, at: new Date().toISOString(), name: input.split("\n")[0].slice(0, 60), results: columns.map(result) };
}

/** @param {Column} column  @returns {Saved} */
function result({ candidate, answer, ...column }) {
  const { firstMs, totalMs, tokens, tokensPerS, state, problem, decisionId, score } = column;
  const { key, model, provider, backend } = candidate;
  return {
    key, model, provider, backend, state, firstMs, totalMs, tokens, tokensPerS, problem, decisionId, score,
    costUsd: answer?.cost_usd ?? null, costSource: answer?.cost_source ?? null, text: cut(wordsOf(column)),
  };
}

/** What is kept of an answer: words and labels; pictures and vectors are not. @param {{text: string, result: any}} column */
function wordsOf({ text, result }) {
  if (text || !result) return text;
  if (result.text ?? result[0]?.generated_text) return result.text ?? result[0].generated_text;
  const labels = result.labels ?? (result[0]?.label === undefined ? [] : result.map((/** @type {any} */ one) => one.label));
  return labels.join(", ");
}

/** @param {string} text */
function cut(text) {
  return text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)} … (cut)` : text;
}

/** Hand runs to the user as a file. @param {Run[]} runs  @param {string} name */
export function download(runs, name) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(runs, null, 2)], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// One candidate asked once: what it said, when, at what cost. What goes wrong stays in its own column.
import { post, stream } from "/ui/api.js";

const PATH = "/v1/inference";

/** @typedef {import("/ui/pages/compare/candidates.js").Candidate} Candidate */
/** @typedef {"waiting" | "asked" | "done" | "failed" | "stopped"} State */
/** @typedef {{candidate: Candidate, state: State, text: string, result: any, progress: {step: number, steps: number} | null, problem: string, decisionId: string,
 *   firstMs: number | null, totalMs: number | null, tokens: number | null, tokensPerS: number | null, answer: any, score: number | null}} Column
 * Times are this page's: from sending to the first piece, and to the end. `answer` is the whole native answer. */

/** @param {Candidate} candidate  @returns {Column} */
export function unasked(candidate) {
  return {
    candidate, state: "waiting", text: "", result: null, progress: null, problem: "", decisionId: "",
    firstMs: null, totalMs: null, tokens: null, tokensPerS: null, answer: null, score: null,
  };
}

/** Ask, and `tell` of each change. Never throws. @param {Candidate} candidate  @param {any} body  @param {AbortSignal} signal
 * @param {(change: Partial<Column>) => void} tell */
export async function asked(candidate, body, signal, tell) {
  const began = performance.now();
  const since = () => performance.now() - began;
  const whole = { ...body, model: candidate.model, routing: candidate.routing };
  tell({ state: "asked" });
  try {
    await (body.stream ? streamed : buffered)(whole, signal, tell, since);
  } catch (/** @type {any} */ error) {
    if (signal.aborted) tell({ state: "stopped" });
    else tell({ state: "failed", problem: error.message, ...(error.decisionId ? { decisionId: error.decisionId } : {}) });
  }
}

/** @param {any} body  @param {AbortSignal} signal  @param {(change: Partial<Column>) => void} tell  @param {() => number} since */
async function buffered(body, signal, tell, since) {
  const { body: answer } = await post(PATH, body, { signal });
  tell({ ...whole(answer), totalMs: since() });
}

/** @param {any} body  @param {AbortSignal} signal  @param {(change: Partial<Column>) => void} tell  @param {() => number} since */
async function streamed(body, signal, tell, since) {
  const began = (/** @type {Headers} */ headers) => tell({ decisionId: headers.get("x-nearfar-decision-id") ?? "" });
  let text = "";
  /** @type {number | null} */ let firstMs = null;
  let lastMs = 0;
  for await (const { name, data } of stream(PATH, body, { signal, began })) {
    if (name === "delta") {
      lastMs = since();
      firstMs ??= lastMs;
      text += data.text;
      tell({ text, firstMs });
    } else if (name === "progress") tell({ progress: data });
    else if (name === "error") throw told(data.error);
    else if (name === "result") {
      tell({ ...whole(data), totalMs: since(), tokensPerS: rate(data.usage?.completion_tokens ?? null, firstMs, lastMs) });
      return;
    }
  }
  throw new Error("The connection ended before the answer did.");
}

/** @param {any} answer  @returns {Partial<Column>} */
function whole(answer) {
  return { state: "done", answer, result: answer.result, decisionId: answer.decision_id, tokens: answer.usage?.completion_tokens ?? null };
}

/** Tokens a second between the first piece and the last; null where that is no span of time.
 * @param {number | null} tokens  @param {number | null} firstMs  @param {number} lastMs */
function rate(tokens, firstMs, lastMs) {
  if (tokens === null || tokens < 2 || firstMs === null || lastMs <= firstMs) return null;
  return ((tokens - 1) * 1000) / (lastMs - firstMs);
}

/** @param {any} error as the stream's last event tells it */
function told(error) {
  return Object.assign(new Error(error?.message ?? "The answer failed, and nobody said why."), { decisionId: error?.decision_id ?? "" });
}

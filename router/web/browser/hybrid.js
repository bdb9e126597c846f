// One request over three tiers: the server's policy says who serves it, and hears what became of it where that is this page.
import { ApiError, ask, post } from "/ui/api.js";
import { EMBEDDING, tier } from "/ui/browser/tier.js";

const HERE = "browser:";

/** Where texts became vectors, and which decision that was; `unlogged` says why there is none in the log.
 * @typedef {{backend: string, model: string, vectors: ArrayLike<number>[], ms: number, costUsd: number | null, decisionId: string | null, reason: string, unlogged: string}} Served */

/** Vectors of texts, from whomever the policy chooses; from the server where this page fails, from this page where the server is away.
 * @param {string} model of the catalogue  @param {string[]} texts  @param {object} routing  @param {AbortSignal} signal  @returns {Promise<Served>} */
export async function embedded(model, texts, routing, signal) {
  const asked = { model, task: EMBEDDING, inputs: texts, routing };
  let plan;
  try {
    plan = await ask("POST", "/v1/route", { ...asked, browser: tier.page() }, { signal });
  } catch (error) {
    if (!(error instanceof ApiError && error.lost)) throw error;
    return { ...(await byPage(model, texts)), decisionId: null, reason: "", unlogged: "The server is away, so nobody chose and nothing was logged." };
  }
  if (!plan.chosen?.startsWith(HERE) || !plan.report) return byServer(asked, signal);
  const { decision_id: decisionId } = plan.report;
  const began = performance.now();
  let served;
  try {
    served = await byPage(model, texts);
  } catch {
    signal.throwIfAborted();
    await told(decisionId, { status: "fell_back", failure: "failed", latency_ms: performance.now() - began });
    return byServer(asked, signal);
  }
  const unlogged = await told(decisionId, { status: "ok", latency_ms: served.ms });
  return { ...served, decisionId: unlogged ? null : decisionId, reason: plan.reason, unlogged };
}

/** Report what became of a decision; why that failed, or nothing: an answer is not lost for it.
 * @param {string} id  @param {object} report  @returns {Promise<string>} */
async function told(id, report) {
  try {
    await ask("POST", "/v1/decisions/browser", { decision_id: id, threads: tier.state.threads, ...report });
    return "";
  } catch (error) {
    return `It could not be logged: ${/** @type {Error} */ (error).message}`;
  }
}

/** @param {string} model  @param {string[]} texts */
async function byPage(model, texts) {
  const began = performance.now();
  const { vectors } = await tier.embed(texts);
  return { backend: "browser", model, vectors, ms: performance.now() - began, costUsd: 0 };
}

/** @param {object} asked  @param {AbortSignal} signal  @returns {Promise<Served>} */
async function byServer(asked, signal) {
  const { body } = await post("/v1/inference", asked, { signal });
  return { backend: body.backend, model: body.model, vectors: body.result, ms: body.latency_ms, costUsd: body.cost_usd, decisionId: body.decision_id, reason: body.reason, unlogged: "" };
}

// One request over three tiers: the server's policy says who serves it, and hears what became of it where that is this page.
import { ask, post } from "/ui/api.js";
import { EMBEDDING, tier } from "/ui/browser/tier.js";

const HERE = "browser:";

/** Where texts became vectors, and which decision that was.
 * @typedef {{backend: string, model: string, vectors: ArrayLike<number>[], ms: number, costUsd: number | null, decisionId: string | null, reason: string}} Served */

/** Vectors of texts, from whomever the policy chooses; from the server where this page fails.
 * @param {string} model of the catalogue  @param {string[]} texts  @param {object} routing  @param {AbortSignal} signal  @returns {Promise<Served>} */
export async function embedded(model, texts, routing, signal) {
  const asked = { model, task: EMBEDDING, inputs: texts, routing };
  const plan = await ask("POST", "/v1/route", { ...asked, browser: tier.page() }, { signal });
  if (!plan.chosen?.startsWith(HERE) || !plan.report) return byServer(asked, signal);
  const began = performance.now();
  try {
    const { vectors } = await tier.embed(texts);
    const ms = performance.now() - began;
    await told(plan.report.decision_id, { status: "ok", latency_ms: ms });
    return { backend: "browser", model, vectors, ms, costUsd: 0, decisionId: plan.report.decision_id, reason: plan.reason };
  } catch (error) {
    if (signal.aborted) throw error;
    await told(plan.report.decision_id, { status: "fell_back", failure: "failed", latency_ms: performance.now() - began });
    return byServer(asked, signal);
  }
}

/** @param {string} id  @param {object} report */
function told(id, report) {
  return ask("POST", "/v1/decisions/browser", { decision_id: id, threads: tier.state.threads, ...report });
}

/** @param {object} asked  @param {AbortSignal} signal  @returns {Promise<Served>} */
async function byServer(asked, signal) {
  const { body } = await post("/v1/inference", asked, { signal });
  return { backend: body.backend, model: body.model, vectors: body.result, ms: body.latency_ms, costUsd: body.cost_usd, decisionId: body.decision_id, reason: body.reason };
}

// One request over three tiers: the server's policy says who serves it, and hears what became of it where that is this page.
import { ApiError, ask, post } from "/ui/api.js";
import { BUILTIN, EMBEDDING, TierError, tier } from "/ui/browser/tier.js";

const AUTO = "auto";
const HERE = "browser:";
const INTENT = "text-classification";
const OWN_SET = "nearfar/minilm-intent";
const SETS = "intents/";

/** What POST /v1/inference is asked. @typedef {{model: string, task: string, inputs: any, routing?: object}} Asked */
/** What it answers, also where this page computed it; `unlogged` says why there is no decision in the log.
 * @typedef {{backend: string, model: string, result: any, latency_ms: number, cost_usd: number | null, decision_id: string | null, reason: string, unlogged: string}} Served */
/** What this page does itself. @typedef {() => Promise<{model: string, result: any, tokens: number}>} Own */

/** An answer from whomever the policy chooses, this page among them where it has the model; from the server where this page fails,
 * from this page where the server is away.
 * @param {Asked} asked  @param {AbortSignal} signal  @returns {Promise<Served>} */
export async function served(asked, signal) {
  const own = await able(asked, signal);
  if (!own) return byServer(asked, signal);
  let plan;
  try {
    plan = await ask("POST", "/v1/route", { ...asked, browser: tier.page() }, { signal });
  } catch (error) {
    if (!(error instanceof ApiError && error.lost)) throw error;
    const began = performance.now();
    return { ...answer(await own(), began), unlogged: "The server is away, so nobody chose and nothing was logged." };
  }
  if (!plan.chosen?.startsWith(HERE) || !plan.report) return byServer(asked, signal);
  return byPage(own, plan, () => byServer(asked, signal), signal);
}

/** Whether this page may serve it, that is, is told to the policy. @param {{task: string, model: string}} asked */
export function offered({ task, model }) {
  const loaded = tier.state.models[EMBEDDING].model;
  return tier.ready(task) && (task === EMBEDDING ? [AUTO, loaded].includes(model) : setOf(model) !== null);
}

/** @param {Asked} asked  @param {AbortSignal} signal  @returns {Promise<Own | null>} */
async function able(asked, signal) {
  if (!offered(asked)) return null;
  const texts = [asked.inputs].flat();
  if (asked.task === EMBEDDING) return () => vectors(texts);
  try {
    const head = await tier.learn(setOf(asked.model) ?? "", signal);
    return () => intent(head, asked.model, texts[0]);
  } catch (error) {
    if (error instanceof TierError || (error instanceof ApiError && !error.lost)) return null; // the server says what is wrong with the set
    throw error;
  }
}

/** @param {string} model  @returns {string | null} the name of its head */
function setOf(model) {
  if (model === OWN_SET) return BUILTIN;
  return model.startsWith(SETS) ? model.slice(SETS.length) : null;
}

/** @param {string[]} texts */
async function vectors(texts) {
  const { vectors: found, tokens, cut } = await tier.embed(texts);
  refuse(cut);
  return { model: tier.state.models[EMBEDDING].model, result: found.map((vector) => [...vector]), tokens };
}

/** @param {import("/ui/browser/head.js").Head} head  @param {string} model  @param {string} text */
async function intent(head, model, text) {
  const { labels, tokens, cut } = await tier.intentBy(head, text);
  refuse(cut);
  return { model, result: labels, tokens };
}

/** @param {number} cut how many texts are too long */
function refuse(cut) {
  if (cut) throw new TierError(`The model in this page reads less than the whole of ${cut === 1 ? "a text" : `${cut} texts`}.`);
}

/** @param {Own} own  @param {any} plan  @param {() => Promise<Served>} other who answers where this page cannot  @param {AbortSignal} signal */
async function byPage(own, plan, other, signal) {
  const { decision_id: decisionId } = plan.report;
  const began = performance.now();
  let done;
  try {
    done = await own();
  } catch {
    signal.throwIfAborted();
    await told(decisionId, { status: "fell_back", failure: "failed", latency_ms: performance.now() - began });
    return other();
  }
  const served = answer(done, began);
  const unlogged = await told(decisionId, { status: "ok", latency_ms: served.latency_ms, input_tokens: done.tokens });
  return { ...served, decision_id: unlogged ? null : decisionId, reason: plan.reason, unlogged };
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

/** @param {Awaited<ReturnType<Own>>} done  @param {number} began  @returns {Served} */
function answer({ model, result }, began) {
  return { backend: "browser", model, result, latency_ms: performance.now() - began, cost_usd: 0, decision_id: null, reason: "", unlogged: "" };
}

/** @param {Asked} asked  @param {AbortSignal} signal  @returns {Promise<Served>} */
async function byServer(asked, signal) {
  const { body } = await post("/v1/inference", asked, { signal });
  return { ...body, unlogged: "" };
}

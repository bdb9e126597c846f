// One answer: asked for, taken as it comes, and marked for what it became.
import { ApiError, stream } from "/ui/api.js";
import { keep, messagesOf, running, write } from "/ui/pages/chat/store.js";

/** @typedef {import("/ui/pages/chat/store.js").Message} Message */
/** @typedef {import("/ui/pages/chat/store.js").About} About */
/** @typedef {{model: string, policy: string, maxCostUsd: number | null, maxSeconds: number | null, maxTokens: number | null, private: boolean}} Options */

const ENDED = "The connection ended before the answer did.";

/** Say something in a conversation, and have it answered.
 * @param {string} id  @param {string} text  @param {Options} options */
export function say(id, text, options) {
  write(id, (before) => [...before, message("user", text, "done")]);
  return answer(id, options);
}

/** Have the last message of the user answered once more: the answer that is there goes.
 * @param {string} id  @param {Options} options */
export function answerAgain(id, options) {
  write(id, (before) => before.slice(0, before.findLastIndex(({ role }) => role === "user") + 1));
  return answer(id, options);
}

/** @param {string} id  @param {Options} options */
async function answer(id, options) {
  const stop = new AbortController();
  const body = bodyOf(messagesOf(id), options);
  const begun = message("assistant", "", "writing");
  const change = (/** @type {(before: Message) => Message} */ how) =>
    write(id, (all) => all.map((one) => (one.id === begun.id && one.state === "writing" ? how(one) : one)));
  running.set(id, stop);
  write(id, (before) => [...before, begun]);
  keep(id);
  try {
    await take(stream("/v1/chat/completions", body, { signal: stop.signal, began: (headers) => change((m) => ({ ...m, about: aboutOf(headers) })) }), change);
  } catch (error) {
    change((m) => ({ ...m, ...broken(m, error, stop.signal) }));
  } finally {
    running.delete(id);
    keep(id);
  }
}

/** @param {AsyncGenerator<{data: any}>} events  @param {(how: (before: Message) => Message) => void} change */
async function take(events, change) {
  /** @type {About | null} */ let end = null;
  try {
    for await (const { data } of events) {
      if (data.error) throw new ApiError(data.error.message, { decisionId: data.error.decision_id, status: 200 });
      const choice = data.choices?.[0] ?? {};
      const added = choice.delta?.content ?? "";
      if (added) change((m) => ({ ...m, content: m.content + added, about: { ...m.about, model: data.model } }));
      if (data.nearfar) end = { ...told(data.nearfar), finish: choice.finish_reason };
    }
    if (!end) throw new Error(ENDED);
  } catch (error) {
    if (!end) throw error; // else it broke after its last word
  }
  change((m) => ({ ...m, state: "done", about: { ...m.about, ...end } })); // only now: the next message can be sent
}

/** @param {Message} before  @param {unknown} error  @param {AbortSignal} signal  @returns {Partial<Message>} */
function broken(before, error, signal) {
  if (signal.aborted) return { state: "stopped" };
  const id = error instanceof ApiError && error.decisionId;
  const about = id ? { ...before.about, decisionId: id } : before.about;
  return { state: before.content ? "cut" : "failed", error: /** @type {Error} */ (error).message, about };
}

/** @param {Message[]} messages  @param {Options} options */
function bodyOf(messages, options) {
  /** @type {Record<string, unknown>} */
  const routing = { private: options.private };
  if (options.policy) routing.policy = options.policy;
  if (options.maxCostUsd !== null) routing.max_cost_usd = options.maxCostUsd;
  if (options.maxSeconds !== null) routing.max_latency_ms = options.maxSeconds * 1000;
  const most = options.maxTokens === null ? {} : { max_tokens: options.maxTokens };
  return { model: options.model, messages: turns(messages), stream: true, routing, ...most };
}

/** What was said so far, in turns: what got no answer is asked together with what follows, as models want it.
 * @param {Message[]} messages */
function turns(messages) {
  /** @type {{role: string, content: string}[]} */
  const said = [];
  for (const { role, content } of messages) {
    const last = said.at(-1);
    if (last?.role === role) last.content += `\n\n${content}`;
    else if (content) said.push({ role, content });
  }
  return said;
}

/** @param {Headers} headers  @returns {About} what is known before the first word */
function aboutOf(headers) {
  const of = (/** @type {string} */ name) => headers.get(`x-nearfar-${name}`);
  return { decisionId: of("decision-id"), backend: of("backend"), model: of("model"), policy: of("policy"), reason: of("reason") };
}

/** @param {any} last what the last event tells  @returns {About} */
function told(last) {
  return { decisionId: last.decision_id, backend: last.backend, model: last.model, costUsd: last.cost_usd, latencyMs: last.latency_ms, reason: last.reason, splices: last.splices };
}

/** @param {Message["role"]} role  @param {string} content  @param {Message["state"]} state  @returns {Message} */
function message(role, content, state) {
  return { id: `${Date.now()}-${Math.random()}`, role, content, state };
}

// Conversations, kept in this browser alone: each under a key of its own, so that two tabs do not overwrite each other.
import { useEffect, useReducer } from "/ui/vendor/htm/standalone.module.js";

/** Who answered, as far as that is known.
 * @typedef {{decisionId?: string | null, backend?: string | null, model?: string | null, policy?: string | null, reason?: string | null,
 *   latencyMs?: number | null, costUsd?: number | null, finish?: string, splices?: {from_char: number, candidate: string}[]}} About */
/** `cut`: it broke half way; `failed`: nothing came; `stopped`: by whoever asked.
 * @typedef {"done" | "writing" | "cut" | "failed" | "stopped"} State */
/** @typedef {{id: string, role: "user" | "assistant", content: string, state: State, error?: string, about?: About}} Message */
/** @typedef {{id: string, at: number, messages: Message[]}} Conversation */

const PREFIX = "nearfar.conversation.";
const OPEN = "nearfar.conversation-open";
const LEFT = "The page was closed before the answer was whole.";

/** @type {Map<string, Conversation>} */
const held = new Map();
/** Answers under way, by conversation, and how to stop them.
 * @type {Map<string, AbortController>} */
export const running = new Map();
const changes = new EventTarget();
let trouble = "";

/** What the page shows of it, and shown anew at every change. */
export function useConversations() {
  const [, again] = useReducer((/** @type {number} */ n) => n + 1, 0);
  useEffect(() => {
    changes.addEventListener("change", again);
    return () => changes.removeEventListener("change", again);
  }, []);
  const all = [...held.values()].sort((a, b) => b.at - a.at);
  return { all, open: held.get(sessionStorage.getItem(OPEN) ?? "") ?? null, trouble };
}

/** Show this conversation in this tab; null: a new one, that begins with its first message. @param {string | null} id */
export function show(id) {
  sessionStorage.setItem(OPEN, id ?? "");
  tell();
}

/** @returns {Conversation} a new conversation; it is kept when something is said in it */
export function begun() {
  const conversation = { id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, at: Date.now(), messages: [] };
  held.set(conversation.id, conversation);
  return conversation;
}

/** @param {string} id  @returns {Message[]} */
export function messagesOf(id) {
  return held.get(id)?.messages ?? [];
}

/** Replace what was said. @param {string} id  @param {(before: Message[]) => Message[]} change */
export function write(id, change) {
  const before = held.get(id);
  if (!before) return; // deleted meanwhile
  held.set(id, { ...before, at: Date.now(), messages: change(before.messages) });
  tell();
}

/** Keep it beyond this page. @param {string} id */
export function keep(id) {
  const conversation = held.get(id);
  if (!conversation) return;
  try {
    localStorage.setItem(PREFIX + id, JSON.stringify(conversation));
    trouble = "";
  } catch (error) {
    trouble = `This conversation cannot be kept after the page is closed (${/** @type {Error} */ (error).message}). Delete some that you need no more.`;
  }
  tell();
}

/** Forget it, here and for good. @param {string} id */
export function forget(id) {
  running.get(id)?.abort();
  held.delete(id);
  localStorage.removeItem(PREFIX + id);
  tell();
}

function tell() {
  changes.dispatchEvent(new Event("change"));
}

/** @param {string} key  @param {string | null} text */
function read(key, text) {
  if (!key.startsWith(PREFIX) || running.has(key.slice(PREFIX.length))) return;
  const found = text === null ? null : conversationIn(text);
  if (found) held.set(found.id, found); else held.delete(key.slice(PREFIX.length));
}

/** What was kept, unless it is nothing that this page wrote. @param {string} text  @returns {Conversation | null} */
function conversationIn(text) {
  try {
    const found = JSON.parse(text);
    if (typeof found.id !== "string" || !found.messages.every((/** @type {Message} */ one) => typeof one.content === "string")) return null;
    return { ...found, messages: found.messages.map(ended) };
  } catch {
    return null; // another program's, or broken: it is left alone
  }
}

/** @param {Message} message  @returns {Message} */
function ended(message) {
  return message.state === "writing" ? { ...message, state: "cut", error: LEFT } : message;
}

for (const [key, text] of Object.entries(localStorage)) read(key, text);
addEventListener("storage", (event) => { if (event.key) { read(event.key, event.newValue); tell(); } });
addEventListener("pagehide", () => { for (const id of running.keys()) { write(id, (all) => all.map(ended)); keep(id); } });

// The one way from the pages to the server: JSON and server-sent events, with the key that was given, errors in words.

/** What went wrong, in the server's words, or why it could not be asked. */
export class ApiError extends Error {
  /** @param {string} message  @param {{status?: number, code?: string, param?: string, decisionId?: string}} about */
  constructor(message, about = {}) {
    super(message);
    this.status = about.status ?? 0;
    this.code = about.code ?? "";
    this.param = about.param ?? "";
    this.decisionId = about.decisionId ?? "";
  }
  /** Whether the server was not reached at all. */
  get lost() { return this.status === 0; }
}

const KEY = "nearfar.key";
const events = new EventTarget();

export const credentials = {
  /** The key of this tab; it is forgotten with the tab. */
  get key() { return sessionStorage.getItem(KEY) ?? ""; },
  set key(value) {
    if (value) sessionStorage.setItem(KEY, value); else sessionStorage.removeItem(KEY);
    askAgain();
  },
};

/** Let what pages show be asked anew: another key was given, or the server is back. */
export function askAgain() {
  events.dispatchEvent(new Event("again"));
}

/** Hear of `lost` and `found` (the connection), `refused` (a key is needed) and `again` (see `askAgain`).
 * @param {string} name  @param {() => void} then  @returns {() => void} how to stop hearing */
export function hear(name, then) {
  events.addEventListener(name, then);
  return () => events.removeEventListener(name, then);
}

/** Ask for JSON.
 * @param {string} method  @param {string} path  @param {unknown} [body] an object, or a form
 * @param {{signal?: AbortSignal}} [options]  @returns {Promise<any>}
 * @throws {ApiError} */
export async function ask(method, path, body, options = {}) {
  const response = await exchange(method, path, body, options);
  if (response.status === 204) return null;
  return response.json();
}

/** The same, with the headers that tell of the decision.
 * @param {string} path  @param {unknown} body  @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<{body: any, headers: Headers}>} */
export async function post(path, body, options = {}) {
  const response = await exchange("POST", path, body, options);
  return { body: await response.json(), headers: response.headers };
}

/** The events of a stream, each with its name ("message" without one) and its data as JSON; `[DONE]` ends it.
 * @param {string} path  @param {unknown} body  @param {{signal?: AbortSignal, began?: (headers: Headers) => void}} [options]
 * @returns {AsyncGenerator<{name: string, data: any}>}
 * @throws {ApiError} also where the connection breaks before the end */
export async function* stream(path, body, options = {}) {
  const response = await exchange("POST", path, body, options);
  options.began?.(response.headers);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  while (true) {
    const { value, done } = await reader.read().catch((error) => { throw broken(error, options.signal); });
    if (done) return;
    const parts = (waiting + value).split(/\r?\n\r?\n/);
    waiting = parts.pop() ?? "";
    for (const part of parts) {
      const event = parsed(part);
      if (event === "end") return;
      if (event) yield event;
    }
  }
}

/** @param {string} part  @returns {{name: string, data: any} | "end" | null} */
function parsed(part) {
  let name = "message";
  const data = [];
  for (const line of part.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  const text = data.join("\n");
  if (!text) return null;
  return text === "[DONE]" ? "end" : { name, data: JSON.parse(text) };
}

/** @param {string} method  @param {string} path  @param {unknown} body  @param {{signal?: AbortSignal}} options */
async function exchange(method, path, body, options) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (credentials.key) headers.authorization = `Bearer ${credentials.key}`;
  const plain = body instanceof FormData || body instanceof Blob;
  if (body !== undefined && !plain) headers["content-type"] = "application/json";
  let response;
  try {
    const sent = plain ? /** @type {BodyInit} */ (body) : body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: sent, signal: options.signal });
  } catch (error) {
    throw broken(error, options.signal);
  }
  events.dispatchEvent(new Event("found"));
  if (response.ok) return response;
  if (response.status === 401) events.dispatchEvent(new Event("refused"));
  throw await refusal(response);
}

/** @param {unknown} error  @param {AbortSignal} [signal] */
function broken(error, signal) {
  if (signal?.aborted) return error;
  events.dispatchEvent(new Event("lost"));
  return new ApiError("The server cannot be reached. It is tried again; nothing you wrote is lost.");
}

/** @param {Response} response */
async function refusal(response) {
  const told = await response.json().catch(() => null);
  const error = told?.error;
  const wait = response.headers.get("retry-after");
  const when = wait ? ` Try again in ${wait} s.` : "";
  if (typeof error === "string") return new ApiError(error + when, { status: response.status });
  const message = error?.message ?? `The server answered ${response.status}.`;
  const about = { status: response.status, code: error?.code, param: error?.param, decisionId: error?.decision_id };
  return new ApiError(message + when, about);
}

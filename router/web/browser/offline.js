// What is kept in this browser for when the server is away: the pages and libraries by a service worker, heads of intents here.
import { ApiError, ask, credentials } from "/ui/api.js";

const HEADS = "nearfar-heads";
const PATIENCE_MS = 10_000;

/** Let the service worker keep the pages and the libraries. @returns {Promise<boolean>} whether it answers for this page now */
export async function keepPages() {
  if (!("serviceWorker" in navigator)) return false; // as over plain HTTP from another machine
  const workers = navigator.serviceWorker;
  try {
    await workers.register("/sw.js", { updateViaCache: "none" });
  } catch {
    if (!workers.controller) return false; // the server is away, or the browser keeps nothing: one from before will do
  }
  if (workers.controller) return true;
  const taken = new Promise((then) => { workers.addEventListener("controllerchange", () => then(true), { once: true }); });
  workers.ready.then(({ active }) => active?.postMessage("claim"));
  return Promise.race([taken, new Promise((then) => { setTimeout(() => then(false), PATIENCE_MS); })]);
}

/** A set's head from the server, or as it was when the server was last reached with the same key.
 * @param {string} name  @param {AbortSignal} [signal]  @returns {Promise<any>} */
export async function intentHead(name, signal) {
  const path = `/v1/intents/${encodeURIComponent(name)}/head`;
  const cache = "caches" in self ? await caches.open(HEADS) : null;
  const place = `${path}?of=${await mark(credentials.key)}`;
  try {
    const told = await ask("GET", path, undefined, { signal });
    await cache?.put(place, Response.json(told));
    return told;
  } catch (error) {
    const held = error instanceof ApiError && error.lost ? await cache?.match(place) : undefined;
    if (held) return held.json();
    if (error instanceof ApiError && !error.lost) await cache?.delete(place); // gone, or no longer one's own
    throw error;
  }
}

/** Models of versions that the server no longer gives. @param {string} at NAME/VERSION */
export async function forgetOlder(at) {
  if (!("caches" in self)) return;
  const cache = await caches.open("transformers-cache");
  const [name] = at.split("/");
  for (const request of await cache.keys()) {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith(`/browser-models/${name}/`) && !pathname.startsWith(`/browser-models/${at}/`)) await cache.delete(request);
  }
}

/** Whose it is, without the key itself: heads of one tenant are not shown to another. @param {string} key */
async function mark(key) {
  if (!key || !globalThis.crypto?.subtle) return key ? "unmarked" : "anybody";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return [...new Uint8Array(digest).slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

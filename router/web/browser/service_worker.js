// Keeps the pages and what computes in the browser, so that both work while the server is away. Served at /sw.js, where
// a first line gives `KEPT`: what there is, and the version of it. (Models are kept by Transformers.js itself.)
"use strict";

const SHELL = `nearfar-shell-${KEPT.shellVersion}`;
const LIBRARIES = `nearfar-libraries-${KEPT.librariesVersion}`;
const INDEX = "/browser-models";
const PATIENCE_MS = 4000; // a server that takes longer counts as away, for pages that are here

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("message", (event) => { if (event.data === "claim") event.waitUntil(self.clients.claim()); });
self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== self.location.origin) return;
  if (KEPT.libraries.includes(pathname)) event.respondWith(kept(event.request, pathname));
  else if (pathname === INDEX || KEPT.shell.includes(pathname)) event.respondWith(fresh(event.request, pathname));
});

async function install() {
  const cache = await caches.open(SHELL);
  await cache.addAll(KEPT.shell.map((path) => new Request(path, { cache: "reload" })));
  await self.skipWaiting();
}

async function activate() {
  for (const name of await caches.keys()) {
    const older = name.startsWith("nearfar-shell-") || name.startsWith("nearfar-libraries-");
    if (older && name !== SHELL && name !== LIBRARIES) await caches.delete(name);
  }
  await self.clients.claim();
}

/** Large and pinned: asked for once a version. */
async function kept(request, path) {
  const cache = await caches.open(LIBRARIES);
  const held = await cache.match(path);
  if (held) return held;
  const answer = await fetch(request);
  if (answer.ok) await cache.put(path, answer.clone());
  return answer;
}

/** From the server while there is one, else as it was. */
async function fresh(request, path) {
  const cache = await caches.open(SHELL);
  const held = await cache.match(path);
  const asked = fetch(request);
  try {
    const answer = await (held ? Promise.race([asked, late()]) : asked);
    if (answer === null) return held;
    if (path === INDEX && answer.ok) await cache.put(path, answer.clone());
    return answer;
  } catch (error) {
    if (held) return held;
    throw error;
  } finally {
    asked.catch(() => undefined); // one that was too late fails unheard
  }
}

function late() {
  return new Promise((then) => { setTimeout(() => then(null), PATIENCE_MS); });
}

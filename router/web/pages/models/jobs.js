// Loading, freeing and fetching models: what takes long goes on while other pages are looked at.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask, stream } from "/ui/api.js";
import { inPath } from "/ui/pages/models/saving.js";
import { bytes, latency, span } from "/ui/parts/format.js";
import { Failure } from "/ui/parts/states.js";

/** @typedef {"load" | "unload" | "pull"} Kind */
/** @typedef {{id: string, kind: Kind, began: number, stop: AbortController, stage: string, done: number, total: number, error: any, said: string}} Job */

/** @type {Map<string, Job>} */
const jobs = new Map();
const changed = new EventTarget();
const WORDS = { load: "Loading", unload: "Freeing the memory of", pull: "Fetching" };

/** @param {string} id  @param {Kind} kind  @param {() => void} then */
export async function start(id, kind, then) {
  /** @type {Job} */
  const job = { id, kind, began: Date.now(), stop: new AbortController(), stage: "", done: 0, total: 0, error: null, said: "" };
  jobs.set(id, job);
  tell();
  try {
    job.said = await { load, unload, pull }[kind](job);
  } catch (error) {
    if (!job.stop.signal.aborted) job.error = error; else if (jobs.get(id) === job) jobs.delete(id);
  }
  tell();
  then();
}

/** @param {Job} job */
async function load(job) {
  const { candidates } = await ask("PUT", `/v1/loaded/${inPath(job.id)}`, undefined, { signal: job.stop.signal });
  return candidates.map((/** @type {any} */ one) => `${one.candidate} is loaded${one.load_ms ? `: it took ${latency(one.load_ms)}` : ""}${one.service_ms === null ? "" : `, and a small request ${latency(one.service_ms)}`}.`).join(" ");
}

/** @param {Job} job */
async function unload(job) {
  const { freed } = await ask("DELETE", `/v1/loaded/${inPath(job.id)}`, undefined, { signal: job.stop.signal });
  return freed.length ? `${job.id} is out of memory.` : `${job.id} was not in memory.`;
}

/** @param {Job} job */
async function pull(job) {
  for await (const { name, data } of stream("/v1/pulls", { model: job.id }, { signal: job.stop.signal })) {
    if (name === "progress") { Object.assign(job, data); tell(); }
    if (name === "error") throw new Error(data.error.message);
    if (name === "done") return `The weights of ${job.id} are here.`;
  }
  throw new Error(`The fetching of ${job.id} broke off. What came is kept where it can be; try again.`);
}

function tell() {
  changed.dispatchEvent(new Event("change"));
}

/** @returns {Map<string, Job>} */
export function useJobs() {
  const [, turn] = useState(0);
  useEffect(() => {
    const next = () => turn((n) => n + 1);
    changed.addEventListener("change", next);
    return () => changed.removeEventListener("change", next);
  }, []);
  return jobs;
}

/** @param {Job} job */
export function runs(job) {
  return !job.error && !job.said;
}

/** Everything under way, failed or done. */
export function Jobs() {
  const all = [...useJobs().values()];
  const [, tick] = useState(0);
  const busy = all.some(runs);
  useEffect(() => {
    if (!busy) return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [busy]);
  return html`<div class="jobs">${all.map((job) => html`<${One} key=${job.id} job=${job} />`)}</div>`;
}

/** @param {{job: Job}} props */
function One({ job }) {
  const close = () => { jobs.delete(job.id); tell(); };
  if (job.error) return html`<div><${Failure} error=${job.error} /><button type="button" onClick=${close}>Close</button></div>`;
  if (job.said) return html`<div class="row"><p class="came" role="status">${job.said}</p><button type="button" aria-label=${`Close the news of ${job.id}`} onClick=${close}>Close</button></div>`;
  const cancel = () => { job.stop.abort(); if (job.kind === "load") start(job.id, "unload", () => undefined); };
  const amount = job.stage === "download" ? `${bytes(job.done)} of ${bytes(job.total)}` : job.stage && `${job.stage}: ${job.done} of ${job.total}`;
  return html`<div class="row"><p class="came" role="status"><span class="spinner" aria-hidden="true"></span>${WORDS[job.kind]} ${job.id} …</p>
    ${job.total > 0 && html`<progress aria-label=${`${WORDS[job.kind]} ${job.id}`} max=${job.total} value=${job.done}></progress>`}
    <span class="quiet" aria-hidden="true">${amount} ${span((Date.now() - job.began) / 1000)}</span>
    ${job.kind !== "unload" && html`<button type="button" aria-label=${`Cancel ${WORDS[job.kind].toLowerCase()} ${job.id}`} onClick=${cancel}>Cancel</button>`}</div>`;
}

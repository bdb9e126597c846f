// The browser as a tier of its own: models loaded into this page, and what can be asked of them. One for the whole tab.
import { ask, post } from "/ui/api.js";
import { Crew, TierError } from "/ui/browser/crew.js";
import { classified, cosine, headOf } from "/ui/browser/head.js";
import { forgetOlder, intentHead, keepPages } from "/ui/browser/offline.js";
import { FLOOR, PROBES, agreement, before, keep, servers } from "/ui/browser/parity.js";
import { soundOf } from "/ui/browser/sound.js";

export { TierError };
export const EMBEDDING = "feature-extraction";
export const SPEECH = "automatic-speech-recognition";
const LEAST_MEMORY_GIB = 2; // of the device: a page with MiniLM takes half a GiB, and others want to live, too
const ROUNDS = 5;
const MEASURED = "How long does a sentence of usual length take to be read by this model, on this machine, right now?";

/** One model in this browser. `loaded` and `total` are bytes; `speed` is of one text of `tokens`; a figure that is not known is null.
 * @typedef {{phase: "absent" | "loading" | "ready" | "failed", why: string, model: string, at: string, loaded: number, total: number | null, bytes: number | null,
 *   loadMs: number | null, speed: {ms: number[], tokens: number} | null, parity: number | null}} Model
 * @typedef {{models: Record<string, Model>, threads: number | null, version: string, offline: boolean}} State */

/** @type {Model} */
const NOTHING = { phase: "absent", why: "", model: "", at: "", loaded: 0, total: null, bytes: null, loadMs: null, speed: null, parity: null };

export class Tier extends EventTarget {
  /** @type {State} */
  state = { models: { [EMBEDDING]: NOTHING, [SPEECH]: NOTHING }, threads: null, version: "", offline: false };
  /** @type {Crew | null} */
  #crew = null;
  /** @type {Map<string, import("/ui/browser/head.js").Head>} */
  #heads = new Map();
  /** @type {Promise<void> | null} */
  #started = null;
  #turn = 0; // of the worker: it ends with it

  /** Hear of every change of `state`. @param {() => void} then  @returns {() => void} how to stop hearing */
  watch(then) {
    this.addEventListener("change", then);
    return () => this.removeEventListener("change", then);
  }

  /** Whether a task can be done here now. @param {string} task */
  ready(task) {
    return this.state.models[task === "text-classification" ? EMBEDDING : task]?.phase === "ready";
  }

  /** Bring a task's model into this page. Ends in `ready`, in `failed` with the reason, or, once aborted, in `absent`.
   * @param {string} [task]  @param {AbortSignal} [signal] */
  async load(task = EMBEDDING, signal = new AbortController().signal) {
    if (["loading", "ready"].includes(this.state.models[task].phase)) return;
    const turn = this.#turn;
    const began = performance.now();
    const stopped = () => this.unload(new TierError("Loading was stopped."));
    signal.addEventListener("abort", stopped, { once: true });
    this.#tell(task, { ...NOTHING, phase: "loading" });
    try {
      await this.#loadModel(task, signal);
      this.#tell(task, { phase: "ready", loadMs: performance.now() - began });
    } catch (error) {
      if (signal.aborted || turn !== this.#turn) return;
      this.#failed(task, /** @type {Error} */ (error));
    } finally {
      signal.removeEventListener("abort", stopped);
    }
  }

  /** Give the memory back. What was downloaded stays. @param {Error} [why] told to whoever still waits for an answer */
  unload(why = new TierError("The model was unloaded.")) {
    this.#turn += 1;
    this.#crew?.dismiss(why);
    this.#crew = null;
    this.#heads.clear();
    for (const task of Object.keys(this.state.models)) this.#tell(task, NOTHING);
  }

  /** Vectors of length 1. @param {string[]} texts  @returns {Promise<{vectors: Float32Array[], ms: number}>} */
  embed(texts) {
    return this.#do(EMBEDDING, "embed", { texts });
  }

  /** What a text wants, by a set of the server's: every label with its probability, the likeliest first. `builtin` is Nearfar's own set.
   * @param {string} set its name  @param {string} text  @param {AbortSignal} [signal] */
  async intent(set, text, signal) {
    const head = await this.learn(set, signal);
    const { vectors: [vector], ms } = await this.embed([text]);
    return { labels: classified(head, vector), ms };
  }

  /** What is said in a recording. @param {Blob} recording  @returns {Promise<{text: string, seconds: number, ms: number}>} */
  async transcribe(recording) {
    const { samples, rate } = await soundOf(recording);
    return this.#do(SPEECH, "transcribe", { samples, rate }, [samples.buffer]);
  }

  /** What this page can do itself, in the words of POST /v1/route. */
  page() {
    const { deviceMemory } = /** @type {any} */ (navigator);
    const embedder = this.state.models[EMBEDDING];
    const heads = [...this.#heads.values()].flatMap(({ model }) => ability("text-classification", { ...embedder, model }));
    return {
      models: [...Object.entries(this.state.models).flatMap(([task, model]) => ability(task, model)), ...heads],
      memory_bytes: deviceMemory === undefined ? null : deviceMemory * 2 ** 30, threads: this.state.threads, online: navigator.onLine,
    };
  }

  /** @param {string} task  @param {AbortSignal} signal */
  async #loadModel(task, signal) {
    refuseSmall();
    this.#set({ offline: await keepPages() });
    const { libraries, models } = await ask("GET", "/browser-models", undefined, { signal });
    if (!libraries.available) throw new TierError(libraries.why);
    const wanted = models.find((/** @type {any} */ one) => one.task === task);
    if (!wanted) throw new TierError("This server has no model of this kind for browsers.");
    if (!wanted.available) throw new TierError(wanted.why);
    this.#tell(task, { model: wanted.model, at: wanted.at, bytes: wanted.bytes, total: wanted.bytes });
    const crew = await this.#staffed();
    const theirs = task === EMBEDDING ? servers(wanted.model, signal) : null;
    theirs?.catch(() => undefined); // heard below; the download may fail before that
    await crew.ask("load", { task, at: wanted.at }, { progress: (done) => this.#tell(task, done) });
    if (theirs) await this.#prove(crew, wanted.at, await theirs);
    if (task === EMBEDDING) this.#tell(task, { speed: await crew.ask("measure", { text: MEASURED, rounds: ROUNDS }) });
    await forgetOlder(wanted.at);
  }

  async #staffed() {
    const crew = this.#crew ?? new Crew((error) => this.#failed(EMBEDDING, error));
    if (!this.#crew) {
      this.#crew = crew;
      this.#started = crew.ask("start", { threads: threads() }).then((told) => this.#set(told));
    }
    await this.#started;
    return crew;
  }

  /** Let nothing be served here that is not what the server would give. @param {Crew} crew  @param {string} at  @param {number[][] | null} theirs */
  async #prove(crew, at, theirs) {
    const found = theirs ? agreement((await crew.ask("embed", { texts: PROBES })).vectors, theirs) : before(at);
    if (found === null) throw new TierError("The server cannot be reached, and this model's vectors were never compared with the server's: load it once while the server is there.");
    this.#tell(EMBEDDING, { parity: found });
    if (!(found >= FLOOR)) throw new TierError(`This browser's vectors differ from the server's (cosine ${found.toFixed(4)}, ${FLOOR} is needed), so nothing is computed here.`);
    if (theirs) keep(at, found);
  }

  /** Fetch a set's head, so that its intents can be told here, and `page` says so. @param {string} set  @param {AbortSignal} [signal] */
  async learn(set, signal) {
    const known = this.#heads.get(set);
    if (known) return known;
    const head = headOf(await intentHead(set, signal));
    const { vectors: [probe] } = await this.embed([head.probeText]);
    if (!(cosine(probe, head.probe) >= FLOOR)) throw new TierError(`The intents ${set} were fitted to vectors that differ from this browser's; ask the server.`);
    this.#heads.set(set, head);
    return head;
  }

  /** @param {string} task  @param {string} name  @param {any} given  @param {Transferable[]} [transfer] */
  async #do(task, name, given, transfer) {
    const { phase, why } = this.state.models[task];
    if (!this.#crew || phase !== "ready") throw new TierError(why || "The model is not loaded in this browser.");
    try {
      return await this.#crew.ask(name, given, { transfer });
    } catch (error) {
      if (error instanceof TierError && error.short) this.#failed(task, error);
      throw error;
    }
  }

  /** Nothing is computed here from now on, and the memory is free. @param {string} task  @param {Error} error */
  #failed(task, error) {
    const short = error instanceof TierError && error.short;
    this.unload(error);
    this.#tell(task, { phase: "failed", why: short ? `This browser has too little memory for the model (${error.message}). The server answers instead.` : error.message });
  }

  /** @param {string} task  @param {Partial<Model>} change */
  #tell(task, change) {
    this.#set({ models: { ...this.state.models, [task]: { ...this.state.models[task], ...change } } });
  }

  /** @param {Partial<State>} change */
  #set(change) {
    this.state = { ...this.state, ...change };
    this.dispatchEvent(new Event("change"));
  }
}

export const tier = new Tier();

/** Vectors from this browser where it can, else from the server; `why` says why not here.
 * @param {string} model of the catalogue  @param {string[]} texts  @param {AbortSignal} [signal]
 * @returns {Promise<{vectors: ArrayLike<number>[], ms: number, where: "browser" | "server", why: string, headers: Headers | null}>} */
export async function embedAnywhere(model, texts, signal) {
  let { why } = tier.state.models[EMBEDDING];
  if (tier.ready(EMBEDDING) && tier.state.models[EMBEDDING].model === model) {
    try {
      return { ...(await tier.embed(texts)), where: "browser", why: "", headers: null };
    } catch (error) {
      why = /** @type {Error} */ (error).message;
    }
  }
  const began = performance.now();
  const { body, headers } = await post("/v1/embeddings", { model, input: texts, truncate: true }, { signal });
  return { vectors: body.data.map((/** @type {any} */ one) => one.embedding), ms: performance.now() - began, where: "server", why, headers };
}

/** @throws {TierError} where it would not end well */
function refuseSmall() {
  if (typeof WebAssembly !== "object" || typeof Worker !== "function") throw new TierError("This browser cannot run models: it has no WebAssembly or no workers. The server answers instead.");
  const { deviceMemory } = /** @type {any} */ (navigator);
  if (deviceMemory < LEAST_MEMORY_GIB) throw new TierError(`This device has about ${deviceMemory} GiB of memory; ${LEAST_MEMORY_GIB} GiB are needed. The server answers instead.`, true);
}

/** Half of the cores from four on: on two, threads that wait for each other are slower than one. */
function threads() {
  const cores = navigator.hardwareConcurrency ?? 1;
  return cores >= 4 ? Math.min(4, Math.floor(cores / 2)) : 1;
}

/** The median of what was measured. @param {{ms: number[]}} speed */
export function middleMs({ ms }) {
  return [...ms].sort((a, b) => a - b)[Math.floor(ms.length / 2)];
}

/** @param {string} task  @param {Model} model */
function ability(task, { phase, model, parity, speed }) {
  if (phase !== "ready") return [];
  const perToken = speed && middleMs(speed) / speed.tokens;
  return [{ model, task, loaded: true, parity, device: "wasm", dtype: "q8", speed: speed && { per: "token", p50_ms: perToken, samples: speed.ms.length } }];
}

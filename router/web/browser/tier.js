// The browser as a tier of its own: models loaded into this page, and what can be asked of them. One for the whole tab.
import { ask } from "/ui/api.js";
import { Crew, TierError } from "/ui/browser/crew.js";
import { CARD, PROCESSOR, chosen, patience } from "/ui/browser/device.js";
import { alike, classified, cosine, headOf } from "/ui/browser/head.js";
import { forgetOlder, intentHead, keepPages } from "/ui/browser/offline.js";
import { FLOOR, PROBES, agreement, before, keep, servers } from "/ui/browser/parity.js";
import { soundOf } from "/ui/browser/sound.js";

export { TierError };
export const EMBEDDING = "feature-extraction";
export const SPEECH = "automatic-speech-recognition";
const LEAST_MEMORY_GIB = 2; // of the device: a page with MiniLM takes half a GiB, and others want to live, too
const ROUNDS = 5;
export const BUILTIN = "builtin"; // the server's own set of intents
const MEASURED = "How long does a sentence of usual length take to be read by this model, on this machine, right now?";

/** One model in this browser. `loaded` and `total` are bytes; `device` is what it runs on, `notCard` why that is not the graphics card;
 * `speed` is of one text of `tokens`; a figure that is not known is null.
 * @typedef {{phase: "absent" | "loading" | "ready" | "failed", why: string, model: string, at: string, loaded: number, total: number | null, bytes: number | null,
 *   device: "webgpu" | "wasm" | null, notCard: string, loadMs: number | null, speed: {ms: number[], tokens: number} | null, parity: number | null}} Model
 * @typedef {{models: Record<string, Model>, threads: number | null, version: string, offline: boolean}} State */

/** @type {Model} */
const NOTHING = { phase: "absent", why: "", model: "", at: "", loaded: 0, total: null, bytes: null, device: null, notCard: "", loadMs: null, speed: null, parity: null };

export class Tier extends EventTarget {
  /** @type {State} */
  state = { models: { [EMBEDDING]: NOTHING, [SPEECH]: NOTHING }, threads: null, version: "", offline: false };
  /** A worker for each model: one that fails takes no other with it. @type {Map<string, Crew>} */
  #crews = new Map();
  /** What is under way. @type {Map<string, AbortController>} */
  #loads = new Map();
  /** @type {Map<string, import("/ui/browser/head.js").Head>} */
  #heads = new Map();

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
    const own = new AbortController();
    this.#loads.set(task, own);
    const ended = AbortSignal.any([signal, own.signal]);
    const stopped = () => this.unload(task, new TierError("Loading was stopped."));
    ended.addEventListener("abort", stopped, { once: true });
    const began = performance.now();
    this.#tell(task, { ...NOTHING, phase: "loading" });
    try {
      await this.#loadModel(task, ended);
      ended.throwIfAborted();
      this.#loads.delete(task);
      this.#tell(task, { phase: "ready", loadMs: performance.now() - began });
    } catch (error) {
      if (!ended.aborted) this.#failed(task, /** @type {Error} */ (error));
    } finally {
      ended.removeEventListener("abort", stopped);
    }
  }

  /** Give a model's memory back. What was downloaded stays.
   * @param {string} [task]  @param {Error} [why] told to whoever still waits for an answer */
  unload(task = EMBEDDING, why = new TierError("The model was unloaded.")) {
    const load = this.#loads.get(task);
    this.#loads.delete(task);
    load?.abort();
    this.#crews.get(task)?.dismiss(why);
    this.#crews.delete(task);
    if (task === EMBEDDING) this.#heads.clear();
    this.#tell(task, NOTHING);
  }

  /** Vectors of length 1; `cut` says how many texts are longer than the model reads.
   * @param {string[]} texts  @returns {Promise<{vectors: Float32Array[], tokens: number, cut: number, ms: number}>} */
  embed(texts) {
    return this.#do(EMBEDDING, "embed", { texts });
  }

  /** What a text wants, by a set of the server's: every label with its probability, the likeliest first. `builtin` is Nearfar's own set.
   * @param {string} set its name  @param {string} text  @param {AbortSignal} [signal] */
  async intent(set, text, signal) {
    return this.intentBy(await this.learn(set, signal), text);
  }

  /** The same, by a head that `learn` gave. @param {import("/ui/browser/head.js").Head} head  @param {string} text */
  async intentBy(head, text) {
    const { vectors: [vector], ...told } = await this.embed([text]);
    return { labels: classified(head, vector), ...told };
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
    const theirs = task === EMBEDDING ? servers(wanted.model, signal) : Promise.resolve(null);
    theirs.catch(() => undefined); // heard below; the download may fail before that
    const { device, why } = await chosen(task, libraries.gpu);
    signal.throwIfAborted();
    try {
      await this.#run(task, device, why, theirs);
    } catch (error) {
      if (device === PROCESSOR || signal.aborted) throw error;
      await this.#run(task, PROCESSOR, `it was tried, and failed: ${/** @type {Error} */ (error).message}`, theirs);
    }
    await forgetOlder(wanted.at);
  }

  /** Load a model onto a device, in a fresh worker: a runtime that failed is of no use any more.
   * @param {string} task  @param {"webgpu" | "wasm"} device  @param {string} notCard  @param {Promise<number[][] | null>} theirs the server's vectors */
  async #run(task, device, notCard, theirs) {
    const { at } = this.state.models[task];
    this.#crews.get(task)?.dismiss(new TierError("Another worker takes its place."));
    const crew = new Crew((error) => { if (this.ready(task)) this.#failed(task, error); });
    this.#crews.set(task, crew);
    this.#tell(task, { device, notCard });
    const watch = device === CARD ? patience((silent) => crew.dismiss(new TierError(silent))) : null;
    try {
      this.#set(await crew.ask("start", { threads: threads(), device }));
      await crew.ask("load", { task, at, device }, { progress: (done) => { watch?.heard(); this.#tell(task, done); } });
      if (task !== EMBEDDING) return;
      await this.#prove(crew, at, device, await theirs);
      watch?.heard();
      this.#tell(task, { speed: await crew.ask("measure", { text: MEASURED, rounds: ROUNDS }) });
    } finally {
      watch?.stop();
    }
  }

  /** Let nothing be served here that is not what the server would give.
   * @param {Crew} crew  @param {string} at  @param {string} device  @param {number[][] | null} theirs */
  async #prove(crew, at, device, theirs) {
    const found = theirs ? agreement((await crew.ask("embed", { texts: PROBES })).vectors, theirs) : before(at, device);
    if (found === null) throw new TierError("The server cannot be reached, and this model's vectors were never compared with the server's: load it once while the server is there.");
    this.#tell(EMBEDDING, { parity: found });
    if (!(found >= FLOOR)) throw new TierError(`This browser's vectors differ from the server's: the cosine is ${found.toFixed(4)}, and ${FLOOR} is needed.`);
    if (theirs) keep(at, device, found);
  }

  /** Fetch a set's head, so that its intents can be told here, and `page` says so. The server's own set stays as it is; another is
   * asked for each time, because it may have been fitted anew. @param {string} set  @param {AbortSignal} [signal] */
  async learn(set, signal) {
    const known = this.#heads.get(set);
    if (known && set === BUILTIN) return known;
    const head = headOf(await intentHead(set, signal));
    if (known && alike(known, head)) return known;
    const { vectors: [probe] } = await this.embed([head.probeText]);
    if (!(cosine(probe, head.probe) >= FLOOR)) throw new TierError(`The intents ${set} were fitted to vectors that differ from this browser's; ask the server.`);
    this.#heads.set(set, head);
    return head;
  }

  /** @param {string} task  @param {string} name  @param {any} given  @param {Transferable[]} [transfer] */
  async #do(task, name, given, transfer) {
    const { phase, why, device } = this.state.models[task];
    const crew = this.#crews.get(task);
    if (!crew || phase !== "ready") throw new TierError(why || "The model is not loaded in this browser.");
    try {
      return await crew.ask(name, given, { transfer });
    } catch (error) {
      const lost = error instanceof TierError && (error.short || device === CARD); // a card that failed once is gone
      if (lost && this.#crews.get(task) === crew) this.#failed(task, error);
      throw error;
    }
  }

  /** Nothing is computed here from now on, and the memory is free. @param {string} task  @param {Error} error */
  #failed(task, error) {
    const short = error instanceof TierError && error.short;
    this.unload(task, error);
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
function ability(task, { phase, model, parity, speed, device }) {
  if (phase !== "ready") return [];
  const perToken = speed && middleMs(speed) / speed.tokens;
  return [{ model, task, loaded: true, parity, device, dtype: "q8", speed: speed && { per: "token", p50_ms: perToken, samples: speed.ms.length } }];
}

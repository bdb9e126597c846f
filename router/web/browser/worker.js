// Computes models in a worker, so that the page stays alive. Knows Transformers.js; knows no page and no server's API.
// Asked and configured by messages `{id, name, given}`; answers `{id, result}`, `{id, error, short}` or `{id, progress}`.

const LIBRARY = "/ui/vendor/transformers/transformers.min.js";
/** Each with its own way to compute; the graphics card's is the larger one. @type {Record<string, string>} */
const RUNTIMES = { wasm: "/ui/vendor/onnxruntime/ort-wasm-simd-threaded", webgpu: "/ui/vendor/onnxruntime/ort-wasm-simd-threaded.jspi" };
const MODELS = "/browser-models/";
const SHORT_OF_MEMORY = /memory|bad_alloc|allocation|\bOOM\b/i;

/** @typedef {{task: string, at: string, device: string}} Wanted */

/** @type {Map<string, any>} */
const pipelines = new Map();
/** @type {any} */
let library = null;
/** What was answered, by address. @type {Map<string, Promise<Response>>} */
const answered = new Map();

/** Transformers.js asks for each file twice: for its size, of which it reads the headers alone, and for its content. It gets
 * one answer for both: a body that nobody has read. @param {string} place  @param {RequestInit} [options]  @returns {Promise<Response>} */
function fetchOnce(place, options) {
  const anew = () => {
    const asked = fetch(place, options);
    answered.set(place, asked);
    return asked;
  };
  const before = answered.get(place);
  return before ? before.then((answer) => (answer.ok && !answer.bodyUsed ? answer : anew()), anew) : anew();
}

const JOBS = {
  /** @param {{threads: number, device: string}} given */
  async start({ threads, device }) {
    library = await import(LIBRARY);
    const { env } = library;
    Object.assign(env, {
      allowRemoteModels: false, allowLocalModels: true, localModelPath: MODELS, logLevel: library.LogLevel?.ERROR ?? 40,
      fetch: fetchOnce,
      useBrowserCache: "caches" in self, // not where the page came over plain HTTP from another machine
      useWasmCache: false, // it would run the runtime from a blob: address, which the page's policy forbids
    });
    Object.assign(env.backends.onnx.wasm, {
      wasmPaths: { mjs: `${location.origin}${RUNTIMES[device]}.mjs`, wasm: `${location.origin}${RUNTIMES[device]}.wasm` },
      numThreads: self.crossOriginIsolated ? threads : 1, // threads need memory that they share
    });
    return { version: env.version, threads: env.backends.onnx.wasm.numThreads };
  },

  /** @param {Wanted} given  @param {(progress: {loaded: number, total: number}) => void} progress */
  async load({ task, at, device }, progress) {
    const heard = (/** @type {any} */ told) => { if (told.status === "progress_total") progress({ loaded: told.loaded, total: told.total }); };
    pipelines.set(task, await library.pipeline(task, at, { device, dtype: "q8", progress_callback: heard }));
  },

  /** One text at a time: short ones gain nothing together, and memory stays small. `tokens` are those of all texts, `cut` says how
   * many texts are longer than the model reads. @param {{texts: string[]}} given */
  async embed({ texts }) {
    const embed = pipelines.get("feature-extraction");
    const began = performance.now();
    const lengths = texts.map((text) => embed.tokenizer(text).input_ids.dims[1]);
    const vectors = [];
    for (const text of texts) vectors.push(new Float32Array((await embed(text, { pooling: "mean", normalize: true })).data));
    const most = embed.tokenizer.model_max_length;
    const tokens = lengths.reduce((sum, length) => sum + Math.min(length, most), 0);
    return { vectors, tokens, cut: lengths.filter((length) => length > most).length, ms: performance.now() - began };
  },

  /** How long a text takes, and of how many tokens it is. @param {{text: string, rounds: number}} given */
  async measure({ text, rounds }) {
    const ms = [];
    let tokens = 0;
    for (let i = 0; i < rounds; i += 1) {
      const told = await JOBS.embed({ texts: [text] });
      ({ tokens } = told);
      ms.push(told.ms);
    }
    return { tokens, ms };
  },

  /** @param {{samples: Float32Array, rate: number}} given one channel */
  async transcribe({ samples, rate }) {
    const hear = pipelines.get("automatic-speech-recognition");
    const began = performance.now();
    const long = samples.length > 30 * rate ? { chunk_length_s: 30, stride_length_s: 5 } : {}; // it hears 30 s at once
    const { text } = await hear(samples, long);
    return { text: text.trim(), seconds: samples.length / rate, ms: performance.now() - began };
  },
};

self.onmessage = async ({ data: { id, name, given } }) => {
  const post = /** @type {(message: any) => void} */ (self.postMessage.bind(self));
  try {
    const job = /** @type {any} */ (JOBS)[name];
    post({ id, result: await job(given, (/** @type {any} */ progress) => post({ id, progress })) });
  } catch (error) {
    const said = error instanceof Error ? error.message : `ONNX Runtime failed (${String(error)}).`;
    post({ id, error: said, short: error instanceof RangeError || SHORT_OF_MEMORY.test(said) });
  }
};

// The worker as the page speaks to it: promises for messages, and an end to all of them when it fails.

/** What the browser could not do; `short` where memory was the reason. */
export class TierError extends Error {
  /** @param {string} message  @param {boolean} [short] */
  constructor(message, short = false) {
    super(message);
    this.short = short;
  }
}

export class Crew {
  /** @type {Map<number, {done: (result: any) => void, failed: (error: Error) => void, progress: ((progress: any) => void) | undefined}>} */
  #waiting = new Map();
  #asked = 0;
  /** @type {Error | null} */
  #gone = null;
  #worker = new Worker("/ui/browser/worker.js", { type: "module" });

  /** @param {(error: TierError) => void} lost told when the worker itself fails */
  constructor(lost) {
    this.#worker.onmessage = ({ data }) => this.#heard(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new TierError(`The browser's worker failed: ${event.message ?? "its script could not be loaded"}.`);
      this.dismiss(error);
      lost(error);
    };
  }

  /** @param {string} name of the worker's job  @param {any} given  @param {{progress?: (progress: any) => void, transfer?: Transferable[]}} [options]
   * @returns {Promise<any>} */
  ask(name, given, { progress, transfer = [] } = {}) {
    if (this.#gone) return Promise.reject(this.#gone);
    return new Promise((done, failed) => {
      this.#asked += 1;
      this.#waiting.set(this.#asked, { done, failed, progress });
      this.#worker.postMessage({ id: this.#asked, name, given }, transfer);
    });
  }

  /** End the worker and give its memory back; whoever waits is told. @param {Error} error */
  dismiss(error) {
    this.#gone = error;
    this.#worker.terminate();
    for (const { failed } of this.#waiting.values()) failed(error);
    this.#waiting.clear();
  }

  /** @param {{id: number, result?: any, error?: string, short?: boolean, progress?: any}} data */
  #heard({ id, result, error, short, progress }) {
    const one = this.#waiting.get(id);
    if (!one) return;
    if (progress) { one.progress?.(progress); return; }
    this.#waiting.delete(id);
    if (error !== undefined) one.failed(new TierError(error, short));
    else one.done(result);
  }
}

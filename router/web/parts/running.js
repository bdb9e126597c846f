// One long piece of work of a page: whether it runs, why it failed, how to stop it.
import { html, useCallback, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { Busy } from "/ui/parts/states.js";

/** @typedef {{busy: boolean, error: unknown, run: (work: (signal: AbortSignal) => Promise<void>) => Promise<void>, cancel: () => void}} Running */

/** Work is stopped where other work begins, and when the page is left. @returns {Running} */
export function useRunning() {
  const [state, set] = useState(/** @type {{busy: boolean, error: unknown}} */ ({ busy: false, error: null }));
  const stop = useRef(/** @type {AbortController | null} */ (null));
  const run = useCallback(async (/** @type {(signal: AbortSignal) => Promise<void>} */ work) => {
    stop.current?.abort();
    const mine = new AbortController();
    stop.current = mine;
    set({ busy: true, error: null });
    const error = await work(mine.signal).then(() => null, (failed) => failed);
    if (stop.current === mine) set({ busy: false, error: mine.signal.aborted ? null : error });
  }, []);
  const cancel = useCallback(() => stop.current?.abort(), []);
  useEffect(() => cancel, []);
  return { ...state, run, cancel };
}

/** That it runs, and a way to stop it. @param {{of: Running, what: string}} props */
export function Stoppable({ of, what }) {
  if (!of.busy) return null;
  return html`<div class="row"><${Busy} what=${what} /><button type="button" onClick=${of.cancel}>Cancel</button></div>`;
}

// Asking the server from a page: while it is asked, when it failed, and again.
import { html, useCallback, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask, hear } from "/ui/api.js";

/** The answer to a GET, asked anew when `path` changes, on `askAgain`, and every `everyMs` while the page is seen.
 * @param {string | null} path null asks nothing  @param {{everyMs?: number}} [options]
 * @returns {{data: any, error: Error | null, busy: boolean, again: () => void}} */
export function useAsked(path, options = {}) {
  const [state, set] = useState(/** @type {{data: any, error: Error | null, busy: boolean}} */ ({ data: null, error: null, busy: true }));
  const [turn, next] = useState(0);
  const shown = useRef(path);
  const again = useCallback(() => next((n) => n + 1), []);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    const same = shown.current === path;
    shown.current = path;
    set((was) => ({ data: same ? was.data : null, error: same ? was.error : null, busy: true }));
    ask("GET", path, undefined, { signal: stop.signal }).then(
      (data) => set({ data, error: null, busy: false }),
      (error) => { if (!stop.signal.aborted) set((was) => ({ data: was.data, error, busy: false })); },
    );
    return () => stop.abort();
  }, [path, turn]);
  useEffect(() => hear("again", again), []);
  useEffect(() => {
    if (!options.everyMs) return undefined;
    const timer = setInterval(() => { if (!document.hidden) again(); }, options.everyMs);
    return () => clearInterval(timer);
  }, [options.everyMs]);
  return { ...state, again };
}

/** What went wrong, in words, where it happened. @param {{error: unknown, again?: () => void}} props */
export function Failure({ error, again }) {
  if (!error) return null;
  const message = error instanceof Error ? error.message : String(error);
  return html`<div class="failure" role="alert"><p>${message}</p>
    ${again && html`<button type="button" onClick=${again}>Try again</button>`}</div>`;
}

/** @param {{what?: string}} props */
export function Busy({ what = "Loading" }) {
  return html`<p class="busy" role="status"><span class="spinner" aria-hidden="true"></span>${what} …</p>`;
}

/** What an answer shows, or that it is on its way, or why there is none.
 * @param {{of: {data: any, error: Error | null, busy: boolean, again: () => void}, children: (data: any) => unknown}} props */
export function Shown({ of, children }) {
  return html`<${Failure} error=${of.error} again=${of.again} />
    ${of.data === null ? of.busy && html`<${Busy} />` : children(of.data)}`;
}

// Doing something at the server from a page: while it is done, when it failed, and what came of it.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Failure } from "/ui/parts/states.js";

/** @typedef {{busy: boolean, error: any, said: string, run: (work: () => Promise<any>, said?: string | ((answer: any) => string)) => Promise<any>, clear: () => void}} Act */

/** `run` gives the answer, or undefined where it failed.
 * @returns {Act} */
export function useAct() {
  const quiet = { busy: false, error: /** @type {any} */ (null), said: "" };
  const [state, set] = useState(quiet);
  const run = async (/** @type {() => Promise<any>} */ work, /** @type {string | ((answer: any) => string)} */ said = "") => {
    set({ ...quiet, busy: true });
    try {
      const answer = await work();
      set({ ...quiet, said: typeof said === "string" ? said : said(answer) });
      return answer;
    } catch (error) {
      set({ ...quiet, error });
      return undefined;
    }
  };
  return { ...state, run, clear: () => set(quiet) };
}

/** What came of it, where it was asked for. @param {{of: Act}} props */
export function Came({ of }) {
  return html`<${Failure} error=${of.error} /><p class="came" role="status">${of.busy ? "Working …" : of.said}</p>`;
}

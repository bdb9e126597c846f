// All candidates of a comparison asked, at once or in turn; each can be stopped alone.
import { useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { asked, unasked } from "/ui/pages/compare/asking.js";
import { shuffled } from "/ui/pages/compare/numbers.js";

/** @typedef {import("/ui/pages/compare/asking.js").Column} Column */
/** @typedef {import("/ui/pages/compare/candidates.js").Candidate} Candidate */

/** @returns {{columns: Column[], busy: boolean, begin: (candidates: Candidate[], body: any, inTurn: boolean) => Promise<Column[]>,
 *   stop: (index?: number) => void, change: (index: number, change: Partial<Column>) => void}} */
export function useRunning() {
  const [columns, show] = useState(/** @type {Column[]} */ ([]));
  const [busy, work] = useState(false);
  const now = useRef(/** @type {Column[]} */ ([]));
  const stops = useRef(/** @type {AbortController[]} */ ([]));
  /** @param {number} [index]  alone; without one all */
  const stop = (index) => stops.current.forEach((one, i) => { if (index === undefined || i === index) one.abort(); });
  useEffect(() => () => stop(), []);
  const change = (/** @type {number} */ index, /** @type {Partial<Column>} */ part) => {
    now.current = now.current.map((column, i) => (i === index ? { ...column, ...part } : column));
    show(now.current);
  };
  const begin = async (/** @type {Candidate[]} */ candidates, /** @type {any} */ body, /** @type {boolean} */ inTurn) => {
    now.current = candidates.map(unasked);
    stops.current = candidates.map(() => new AbortController());
    show(now.current);
    work(true);
    const one = (/** @type {number} */ i) => {
      const { signal } = stops.current[i];
      if (!signal.aborted) return asked(candidates[i], body, signal, (part) => change(i, part));
      change(i, { state: "stopped" });
      return Promise.resolve();
    };
    const all = candidates.map((_, i) => i);
    if (inTurn) for (const i of shuffled(all)) await one(i);
    else await Promise.all(all.map(one));
    work(false);
    return now.current;
  };
  return { columns, busy, begin, stop, change };
}

// What outlives a page: results until the tab is reloaded, choices until the browser forgets them.
import { useCallback, useState } from "/ui/vendor/htm/standalone.module.js";

/** @type {Map<string, unknown>} */
const kept = new Map();

/** State that is there again when one comes back to the page; also what is set after one left it.
 * @template T  @param {string} name  @param {T} initial  @returns {[T, (next: T | ((before: T) => T)) => void]} */
export function useKept(name, initial) {
  const [, turn] = useState(0);
  const set = useCallback((/** @type {T | ((before: T) => T)} */ next) => {
    const before = /** @type {T} */ (kept.has(name) ? kept.get(name) : initial);
    kept.set(name, typeof next === "function" ? /** @type {any} */ (next)(before) : next);
    turn((n) => n + 1);
  }, [name]);
  return [/** @type {T} */ (kept.has(name) ? kept.get(name) : initial), set];
}

/** An object of choices in localStorage. Fields that are not stored, or of which nobody knows any more, are `initial`'s.
 * @template {Record<string, any>} T  @param {string} name  @param {T} initial  @returns {[T, (change: Partial<T>) => void]} */
export function useStored(name, initial) {
  const [value, set] = useState(() => stored(name, initial));
  const change = useCallback((/** @type {Partial<T>} */ fields) => set((before) => {
    const next = { ...before, ...fields };
    localStorage.setItem(name, JSON.stringify(next));
    return next;
  }), [name]);
  return [value, change];
}

/** @template {Record<string, any>} T  @param {string} name  @param {T} initial  @returns {T} */
function stored(name, initial) {
  try {
    const found = JSON.parse(localStorage.getItem(name) ?? "{}");
    const known = Object.entries(found).filter(([field]) => field in initial);
    return { ...initial, ...Object.fromEntries(known) };
  } catch {
    return initial; // somebody else wrote there
  }
}

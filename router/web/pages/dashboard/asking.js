// Asking the questions of analytics over the range, and what their answers over time look like as lines.
import { useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { dated } from "/ui/parts/format.js";
import { useAsked } from "/ui/parts/states.js";
import { queryOf, REFRESH_MS } from "/ui/pages/dashboard/range.js";

/** @typedef {import("/ui/pages/dashboard/range.js").Range} Range */
/** @typedef {{range: Range, now: number}} Looking */

/** What is "now": it moves on while the page is seen, and when it is told to. @returns {[number, () => void]} */
export function useNow() {
  const [now, set] = useState(Date.now());
  const look = () => set(Date.now());
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) look(); }, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return [now, look];
}

/** The answer to a question. While the same range is only asked anew, the last answer stays.
 * @param {string} question  @param {Looking} looking  @param {Record<string, string>} [more] */
export function useQuestion(question, looking, more = {}) {
  const { range, now } = looking;
  const extra = new URLSearchParams(more).toString();
  const asked = useAsked(`/v1/analytics/${question}?${[queryOf(range, now), extra].filter(Boolean).join("&")}`);
  const key = JSON.stringify([range, question, extra]);
  const last = useRef(/** @type {{key: string, data: any}} */ ({ key, data: null }));
  if (asked.data !== null && asked.data !== last.current.data) last.current = { key, data: asked.data }; // not when only the key is new
  const kept = last.current.key === key ? last.current.data : null;
  return { ...asked, data: asked.data ?? kept };
}

const STEP_S = /** @type {Record<string, number>} */ ({ minute: 60, hour: 3600, day: 86400 });
const MOST_STEPS = 5000;

/** Rows by step and group as lines over one axis. A step without a row is a gap, or `none`, where that is so.
 * @param {any} answer  @param {string} by  @param {string} value  @param {number | null} [none]
 * @returns {{xs: number[], values: (group: string | null) => (number | null)[], groups: (string | null)[]}} */
export function overTime(answer, by, value, none = null) {
  const found = new Map();
  for (const row of answer.rows) found.set(`${dated(row.at).getTime() / 1000} ${row[by]}`, row[value]);
  const xs = steps(answer);
  const groups = [...new Set(/** @type {(string | null)[]} */ (answer.rows.map((/** @type {any} */ row) => row[by])))];
  return { xs, groups, values: (group) => xs.map((x) => found.has(`${x} ${group}`) ? found.get(`${x} ${group}`) : none) };
}

/** Every step from the first row to the last; of very many only those that have a row. @param {any} answer */
function steps(answer) {
  const there = [...new Set(/** @type {number[]} */ (answer.rows.map((/** @type {any} */ row) => dated(row.at).getTime() / 1000)))].sort((a, b) => a - b);
  const step = STEP_S[answer.step];
  const count = there.length ? Math.round((there[there.length - 1] - there[0]) / step) + 1 : 0;
  return count > MOST_STEPS ? there : Array.from({ length: count }, (_, i) => there[0] + i * step);
}

// Which answer is best, said to the log as feedback on each decision.
import { ask } from "/ui/api.js";

/** @typedef {import("/ui/pages/compare/asking.js").Column} Column */

export const TIE = -1;

/** Each whole answer's score: the share of its comparisons with the others that it wins, where equal ones share the win.
 * @param {Column[]} columns  @param {number} best its index, or TIE  @returns {(number | null)[]} null for whoever did not answer */
export function scores(columns, best) {
  const others = columns.filter(whole).length - 1;
  return columns.map((column, index) => {
    if (!whole(column)) return null;
    if (best === TIE) return 0.5;
    return index === best ? 1 : (others - 1) / 2 / others;
  });
}

/** @param {Column} column */
export function whole(column) {
  return column.state === "done" && Boolean(column.decisionId);
}

/** Send them; whoever's was refused is named by what the server said. @param {Column[]} columns  @param {(number | null)[]} found
 * @returns {Promise<{index: number, problem: string}[]>} what was not taken */
export async function sent(columns, found) {
  const told = await Promise.all(columns.map(async (column, index) => {
    if (found[index] === null) return null;
    return ask("POST", "/v1/feedback", { decision_id: column.decisionId, score: found[index] }).then(() => null, (error) => ({ index, problem: error.message }));
  }));
  return told.filter((one) => one !== null);
}

// What several runs say of one candidate: the median, and how sure one may be of it.

const SURE = 0.95;
export const LEAST = 6; // fewer values have no interval that holds the median with 95 %: 1 - 2 / 2 ** 5 is 94 %

/** @typedef {{n: number, median: number | null, low: number | null, high: number | null, values: number[]}} Summary
 * without an interval (`low` and `high` are null) where n is too small for one */

/** @param {(number | null | undefined)[]} given what is unknown does not count  @returns {Summary} */
export function summary(given) {
  const values = /** @type {number[]} */ (given.filter((value) => typeof value === "number")).sort((a, b) => a - b);
  const n = values.length;
  if (!n) return { n, median: null, low: null, high: null, values };
  const median = (values[Math.floor((n - 1) / 2)] + values[Math.floor(n / 2)]) / 2;
  const k = rank(n);
  return { n, median, low: k ? values[k - 1] : null, high: k ? values[n - k] : null, values };
}

/** The k for which the k-th smallest and the k-th largest of n values hold the median between them with 95 % (exactly,
 * whatever the distribution): each value is as likely below the median as above. 0 where there is none. @param {number} n */
export function rank(n) {
  let outside = 0, ways = 1, k = 0;
  for (let below = 0; below < n / 2; below += 1) {
    outside += (2 * ways) / 2 ** n;
    if (outside > 1 - SURE) break;
    k = below + 1;
    ways = (ways * (n - below)) / (below + 1);
  }
  return k;
}

/** How alike two vectors are, from -1 to 1; null where one of them has no direction.
 * @param {number[]} a  @param {number[]} b */
export function cosine(a, b) {
  const dot = (/** @type {number[]} */ x, /** @type {number[]} */ y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const size = Math.sqrt(dot(a, a) * dot(b, b));
  return size ? dot(a, b) / size : null;
}

/** The same things in an order of chance. @template T  @param {T[]} things  @returns {T[]} */
export function shuffled(things) {
  const mixed = [...things];
  for (let i = mixed.length - 1; i > 0; i -= 1) {
    const j = Math.floor(Math.random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}

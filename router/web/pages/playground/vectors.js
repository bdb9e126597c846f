// What vectors say about each other: how alike they are, and a plane that shows most of how they differ.

const TURNS = 60; // sweeps of Jacobi's method; it is done after about ten

/** The cosine of the angle between two vectors; null where one of them points nowhere.
 * @param {number[]} a  @param {number[]} b  @returns {number | null} */
export function cosine(a, b) {
  const length = Math.sqrt(dot(a, a) * dot(b, b));
  return length > 0 ? Math.max(-1, Math.min(1, dot(a, b) / length)) : null;
}

/** Principal components: where each vector lies on the plane of greatest spread, and how much of the spread each axis shows.
 * @param {number[][]} vectors  @returns {{points: [number, number][], shares: [number, number] | null}} no shares where all are equal */
export function plane(vectors) {
  const centred = aroundMean(vectors);
  const { values, columns } = symmetric(centred.map((a) => centred.map((b) => dot(a, b))));
  const order = values.map((_, i) => i).sort((i, j) => values[j] - values[i]);
  const spread = values.reduce((sum, value) => sum + Math.max(0, value), 0);
  const axes = [order[0], order[1]].map((at) => (at === undefined ? vectors.map(() => 0) : along(columns, at, values[at])));
  /** @type {[number, number][]} */
  const points = vectors.map((_, row) => [axes[0][row], axes[1][row]]);
  const share = (/** @type {number | undefined} */ at) => (at === undefined ? 0 : Math.max(0, values[at]) / spread);
  return { points, shares: spread > 1e-12 ? [share(order[0]), share(order[1])] : null };
}

/** Coordinates on one axis; its direction is free, so the one that lies furthest out is put to the right.
 * @param {number[][]} columns  @param {number} at  @param {number} value */
function along(columns, at, value) {
  const axis = columns.map((row) => row[at] * Math.sqrt(Math.max(0, value)));
  const furthest = axis.reduce((a, b) => (Math.abs(b) > Math.abs(a) + 1e-9 ? b : a), 0);
  return furthest < 0 ? axis.map((x) => -x) : axis;
}

/** @param {number[][]} vectors */
function aroundMean(vectors) {
  const mean = vectors[0].map((_, i) => vectors.reduce((sum, vector) => sum + vector[i], 0) / vectors.length);
  return vectors.map((vector) => vector.map((x, i) => x - mean[i]));
}

/** @param {number[]} a  @param {number[]} b */
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

/** Eigenvalues, and eigenvectors as columns, of a symmetric matrix, by Jacobi's rotations: exact enough, and short.
 * The matrix is as large as there are texts, not as the vectors are long.
 * @param {number[][]} matrix  @returns {{values: number[], columns: number[][]}} */
function symmetric(matrix) {
  const a = matrix.map((row) => [...row]);
  const columns = a.map((_, i) => a.map((__, j) => (i === j ? 1 : 0)));
  const small = 1e-22 * a.reduce((sum, row) => sum + dot(row, row), 0);
  for (let turn = 0; turn < TURNS; turn += 1) {
    let off = 0;
    for (let p = 0; p < a.length; p += 1) {
      for (let q = p + 1; q < a.length; q += 1) { off += a[p][q] ** 2; rotate(a, columns, p, q); }
    }
    if (off <= small) break;
  }
  return { values: a.map((row, i) => row[i]), columns };
}

/** Turn the plane of two axes so that they no longer depend on each other.
 * @param {number[][]} a  @param {number[][]} columns  @param {number} p  @param {number} q */
function rotate(a, columns, p, q) {
  if (a[p][q] === 0) return;
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (const rows of [a, columns]) {
    for (const row of rows) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
  }
  for (let k = 0; k < a.length; k += 1) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
}

// A server's set of intents, computed here: the same formula as `backends/local/intents/classifier.py`, on unit vectors.

/** @typedef {{name: string, model: string, labels: string[], weights: Float32Array[], centres: Float32Array[], bias: Float32Array, direction: Float32Array,
 *   temperature: number, threshold: number, slope: number, energyShare: number, probe: Float32Array, probeText: string}} Head */

/** @param {any} told what GET /v1/intents/NAME/head answered  @returns {Head} */
export function headOf(told) {
  const rows = told.labels.length;
  return {
    name: told.name, model: told.model, labels: [...told.labels, told.unknown], weights: matrix(told.weights, rows), centres: matrix(told.centres, rows),
    bias: numbers(told.bias), direction: numbers(told.direction), temperature: told.temperature, threshold: told.threshold,
    slope: told.slope, energyShare: told.energy_share, probe: numbers(told.probe), probeText: told.probe_text,
  };
}

/** Whether two of the same set were fitted alike. @param {Head} one  @param {Head} other */
export function alike(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Every label with its probability, the likeliest first. @param {Head} head  @param {Float32Array} vector */
export function classified(head, vector) {
  const logits = head.weights.map((row, i) => dot(row, vector) + head.bias[i]);
  const calibrated = logits.map((z) => z / head.temperature);
  const energy = head.temperature * logSumExp(calibrated);
  const told = dot(head.direction, vector) + head.direction[vector.length];
  const likeness = Math.max(...head.centres.map((row) => dot(row, vector))) + head.energyShare * energy + told;
  const all = [...calibrated, Math.max(...calibrated) + head.slope * (head.threshold - likeness)];
  const norm = logSumExp(all);
  return all.map((z, i) => ({ label: head.labels[i], score: Math.exp(z - norm) })).sort((one, other) => other.score - one.score);
}

/** @param {ArrayLike<number>} one  @param {ArrayLike<number>} other */
export function cosine(one, other) {
  return dot(other, one) / Math.sqrt(dot(one, one) * dot(other, other));
}

/** Over the length of `vector`. @param {ArrayLike<number>} row  @param {ArrayLike<number>} vector */
function dot(row, vector) {
  let sum = 0;
  for (let i = 0; i < vector.length; i += 1) sum += row[i] * vector[i];
  return sum;
}

/** @param {number[]} values */
function logSumExp(values) {
  const top = Math.max(...values);
  return top + Math.log(values.reduce((sum, z) => sum + Math.exp(z - top), 0));
}

/** @param {string} base64 little-endian float32 */
function numbers(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** @param {string} base64  @param {number} rows */
function matrix(base64, rows) {
  const all = numbers(base64);
  const width = all.length / rows;
  return Array.from({ length: rows }, (_, i) => all.subarray(i * width, (i + 1) * width));
}

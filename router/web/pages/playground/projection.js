// The vectors on a plane, as a drawing; whoever cannot see it has the table beneath.
import { html, useEffect, useMemo, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { Table } from "/ui/parts/controls.js";
import { percent } from "/ui/parts/format.js";
import { plane } from "/ui/pages/playground/vectors.js";

const HEIGHT = 360;
const MARGIN = 32;
const RADIUS = 4; // of a point
const LINE = 20; // from one label to the next
const LONGEST = 28; // letters of a label
const NARROW = 520; // pixels; below them there are numbers only

/** @param {{texts: string[], vectors: number[][]}} props */
export function Projection({ texts, vectors }) {
  const { points, shares } = useMemo(() => plane(vectors), [vectors]);
  const place = useRef(/** @type {any} */ (null));
  const width = useWidth(place);
  const shown = shares ? `The axes are the two principal components; they show ${percent(shares[0])} and ${percent(shares[1])} of how the texts differ.` : "All vectors are equal: there is nothing to spread out.";
  const rows = texts.map((text, i) => [i + 1, text, points[i][0].toFixed(3), points[i][1].toFixed(3)]);
  return html`<figure class="chart projection"><figcaption>${shown}</figcaption>
    <div ref=${place}>${width > 0 && html`<${Plane} texts=${texts} points=${points} width=${width} />`}</div>
    <details><summary>As a table</summary><${Table} caption="Where each text lies" columns=${["no.", "text", "first axis", "second axis"]} rows=${rows} /></details></figure>`;
}

/** @param {{texts: string[], points: [number, number][], width: number}} props */
function Plane({ texts, points, width }) {
  const placed = onto(points, width);
  const named = width >= NARROW;
  const heights = apart(placed, named ? width / 2 : LINE);
  const side = (/** @type {number} */ x) => (x < width / 2 ? 1 : -1); // labels point to the middle, where there is room
  return html`<svg class="plane" width=${width} height=${HEIGHT} viewBox=${`0 0 ${width} ${HEIGHT}`} role="img" aria-label="Projection of the texts: its figures are in the table beneath">
    <line class="axis" x1="0" y1=${HEIGHT / 2} x2=${width} y2=${HEIGHT / 2} /><line class="axis" x1=${width / 2} y1="0" x2=${width / 2} y2=${HEIGHT} />
    ${placed.map(({ x, y }, i) => html`<g key=${i}><title>${texts[i]}</title>
      <line class="lead" x1=${x} y1=${y} x2=${x + side(x) * 12} y2=${heights[i]} /><circle cx=${x} cy=${y} r=${RADIUS} />
      <text x=${x + side(x) * 15} y=${heights[i]} text-anchor=${side(x) > 0 ? "start" : "end"} dominant-baseline="central">${named ? `${i + 1}. ${short(texts[i])}` : i + 1}</text></g>`)}</svg>`;
}

/** Coordinates in pixels, the middle in the middle, the same scale on both axes where there is room for it.
 * @param {[number, number][]} points  @param {number} width */
function onto(points, width) {
  const reach = (/** @type {0 | 1} */ axis) => Math.max(...points.map((point) => Math.abs(point[axis]))) || 1;
  const scale = Math.min((width / 2 - MARGIN) / reach(0), (HEIGHT / 2 - MARGIN) / reach(1));
  return points.map(([x, y]) => ({ x: width / 2 + x * scale, y: HEIGHT / 2 - y * scale }));
}

/** How high each point's label stands: beside it, or as near to that as those before it leave room. Points stay where they are.
 * @param {{x: number, y: number}[]} points  @param {number} wide what a label may take */
function apart(points, wide) {
  const done = /** @type {{x: number, y: number}[]} */ ([]);
  for (const { x, y } of points) {
    const free = (/** @type {number} */ at) => at >= LINE / 2 && at <= HEIGHT - LINE / 2 && !done.some((other) => Math.abs(other.y - at) < LINE && Math.abs(other.x - x) < wide);
    const tries = points.flatMap((_, i) => [y + i * LINE, y - i * LINE]);
    done.push({ x, y: tries.find(free) ?? y });
  }
  return done.map(({ y }) => y);
}

/** @param {string} text */
function short(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

/** How wide the element is, in pixels. @param {{current: any}} place */
function useWidth(place) {
  const [width, set] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => set(Math.round(entry.contentRect.width)));
    watch.observe(place.current);
    return () => watch.disconnect();
  }, []);
  return width;
}

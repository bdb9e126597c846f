// Lines over time. uPlot is loaded when the first chart is drawn; whoever cannot see it has the table beneath.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { Table } from "/ui/parts/controls.js";

/** @typedef {{name: string, values: (number | null)[], dashed?: boolean, colour?: string}} Line
 * `colour` names one of the sheet's, such as `--near`; without it each has its own */

const HEIGHT = 220;
const ALONE_S = 1800;
const LEAST_PX = 6; // what is dragged less was a click

/** @param {{title: string, xs: number[], lines: Line[], format: (value: number | null) => string, bars?: boolean,
 *   onZoom?: (from: number, to: number) => void}} props
 * `xs` are seconds since 1970, rising; each line has a value, or null, for each of them.
 * `onZoom` is told what part somebody dragged over */
export function TimeChart({ title, xs, lines, format, bars = false, onZoom }) {
  const place = useRef(/** @type {any} */ (null));
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  const [failed, fail] = useState("");
  const shade = useShade();
  const there = xs.length > 0 && lines.length > 0;
  const drawn = JSON.stringify([xs, lines, bars, shade]);
  useEffect(() => {
    if (!there) return undefined; // an axis of no length has no ticks, and looking for them has no end
    /** @type {any} */ let plot = null;
    let gone = false;
    const watch = new ResizeObserver(([entry]) => plot?.setSize({ width: entry.contentRect.width, height: HEIGHT }));
    import("/ui/vendor/uplot/uPlot.esm.js").then(({ default: Plot }) => {
      if (gone || !place.current) return;
      const tall = bars ? stacked(lines) : lines.map((line) => ({ ...line, heights: line.values }));
      const made = options(Plot, { width: place.current.clientWidth, lines: tall, format, bars, ends: axisEnds(xs, bars), zoom });
      plot = new Plot(/** @type {any} */ (made), [xs, ...tall.map((line) => line.heights)], place.current);
      watch.observe(place.current);
    }, () => fail("The chart could not be loaded; the table beneath has its figures."));
    return () => { gone = true; watch.disconnect(); plot?.destroy(); };
  }, [drawn]);
  const rows = xs.map((x, i) => [new Date(x * 1000).toLocaleString(), ...lines.map((line) => format(line.values[i]))]);
  return html`<figure class="chart"><figcaption>${title}</figcaption>
    ${failed && html`<p role="alert">${failed}</p>`}
    ${!there && html`<p class="empty">Nothing in this range.</p>`}
    <div ref=${place} hidden=${!there} role="img" aria-label=${`${title}: its figures are in the table beneath`}></div>
    <details><summary>As a table</summary><${Table} caption=${title} columns=${["time", ...lines.map((l) => l.name)]} rows=${there ? rows : []} empty="Nothing in this range." /></details>
  </figure>`;
}

/** Changes when the colours do: somebody chose a theme, or the system turned dark. */
function useShade() {
  const [shade, turn] = useState(0);
  useEffect(() => {
    const turned = () => turn((n) => n + 1);
    const chosen = new MutationObserver(turned);
    chosen.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", turned);
    return () => { chosen.disconnect(); system.removeEventListener("change", turned); };
  }, []);
  return shade;
}

/** @typedef {Line & {heights: (number | null)[]}} Tall `heights` are where it is drawn */

/** Bars of one time stand on each other; the highest is drawn first. @param {Line[]} lines  @returns {Tall[]} */
function stacked(lines) {
  const sums = new Map();
  const tops = lines.map((line) => ({ ...line, heights: line.values.map((value, i) => {
    if (value !== null) sums.set(i, (sums.get(i) ?? 0) + value);
    return value === null ? null : sums.get(i);
  }) }));
  return tops.reverse();
}

/** @typedef {{width: number, lines: Tall[], format: (v: number | null) => string, bars: boolean, ends: [number, number],
 *   zoom: {current: ((from: number, to: number) => void) | undefined}}} Drawing */

/** @param {any} Plot  @param {Drawing} drawing */
function options(Plot, { width, lines, format, bars, ends, zoom }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
  const drawn = lines.map((line, i) => {
    const ink = colour(line.colour ?? `--series-${(i % 6) + 1}`);
    const told = (/** @type {any} */ _, /** @type {any} */ __, /** @type {any} */ ___, /** @type {number | null} */ at) => (at === null ? "" : format(line.values[at])); // nothing is pointed at: nothing is said
    return {
      label: line.name, stroke: ink, width: 2, dash: line.dashed ? [6, 4] : undefined, spanGaps: false,
      fill: bars ? ink : undefined, paths: bars ? Plot.paths.bars({ size: [0.7, 40] }) : undefined, points: { show: !bars, size: 5, fill: ink }, value: told,
    };
  });
  return {
    width, height: HEIGHT, series: [{ label: "Time", value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at === null ? "" : new Date(at * 1000).toLocaleString()) }, ...drawn],
    scales: { x: { range: () => ends }, y: { range: (/** @type {any} */ _, /** @type {number | null} */ __, /** @type {number | null} */ most) => [0, most ? most * 1.1 : 1] } },
    axes: [axis, { ...axis, size: 72, values: (/** @type {any} */ _, /** @type {number[]} */ vs) => vs.map(format) }],
    cursor: { drag: { x: Boolean(zoom.current), y: false, setScale: false } },
    hooks: { setSelect: [(/** @type {any} */ plot) => selected(plot, zoom.current)] },
  };
}

/** From the first to the last, with room for whole bars and around a single point. @param {number[]} xs  @param {boolean} bars  @returns {[number, number]} */
function axisEnds(xs, bars) {
  const first = xs[0], last = xs[xs.length - 1];
  const room = xs.length === 1 ? ALONE_S : bars ? (xs[1] - first) / 2 : 0;
  return [first - room, last + room];
}

/** @param {any} plot  @param {((from: number, to: number) => void) | undefined} zoom */
function selected(plot, zoom) {
  const { left, width } = plot.select;
  if (zoom && width >= LEAST_PX) zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
}

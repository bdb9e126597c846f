// Lines over time. uPlot is loaded when the first chart is drawn; whoever cannot see it has the table beneath.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { Table } from "/ui/parts/controls.js";

/** @typedef {{name: string, values: (number | null)[], dashed?: boolean}} Line */

/** @param {{title: string, xs: number[], lines: Line[], format: (value: number | null) => string, bars?: boolean}} props
 * `xs` are seconds since 1970, rising; each line has a value, or null, for each of them */
export function TimeChart({ title, xs, lines, format, bars = false }) {
  const place = useRef(/** @type {any} */ (null));
  const [failed, fail] = useState("");
  const drawn = JSON.stringify([xs, lines]);
  useEffect(() => {
    /** @type {any} */ let plot = null;
    let gone = false;
    const watch = new ResizeObserver(([entry]) => plot?.setSize({ width: entry.contentRect.width, height: 220 }));
    import("/ui/vendor/uplot/uPlot.esm.js").then(({ default: Plot }) => {
      if (gone || !place.current) return;
      plot = new Plot(/** @type {any} */ (options(Plot, place.current.clientWidth, lines, format, bars)), [xs, ...lines.map((l) => l.values)], place.current);
      watch.observe(place.current);
    }, () => fail("The chart could not be loaded; the table beneath has its figures."));
    return () => { gone = true; watch.disconnect(); plot?.destroy(); };
  }, [drawn]);
  const rows = xs.map((x, i) => [new Date(x * 1000).toLocaleString(), ...lines.map((line) => format(line.values[i]))]);
  return html`<figure class="chart"><figcaption>${title}</figcaption>
    ${failed && html`<p role="alert">${failed}</p>`}
    <div ref=${place} role="img" aria-label=${`${title}: its figures are in the table beneath`}></div>
    <details><summary>As a table</summary><${Table} caption=${title} columns=${["time", ...lines.map((l) => l.name)]} rows=${rows} /></details>
  </figure>`;
}

/** @param {any} Plot  @param {number} width  @param {Line[]} lines  @param {(v: number | null) => string} format  @param {boolean} bars */
function options(Plot, width, lines, format, bars) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
  const drawn = lines.map((line, i) => ({
    label: line.name, stroke: colour(`--series-${(i % 6) + 1}`), width: 2, dash: line.dashed ? [6, 4] : undefined, spanGaps: false,
    fill: bars ? colour(`--series-${(i % 6) + 1}`) : undefined, paths: bars ? Plot.paths.bars({ size: [0.7, 40] }) : undefined,
    value: (/** @type {any} */ _, /** @type {number | null} */ v) => format(v),
  }));
  return {
    width, height: 220, series: [{}, ...drawn],
    axes: [axis, { ...axis, size: 72, values: (/** @type {any} */ _, /** @type {number[]} */ vs) => vs.map(format) }],
  };
}

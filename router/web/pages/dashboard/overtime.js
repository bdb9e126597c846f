// Requests, latency and spend, step by step, near and far apart. Dragging in one of them looks closer in all.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { TimeChart } from "/ui/parts/chart.js";
import { Section } from "/ui/parts/controls.js";
import { count, latency, money } from "/ui/parts/format.js";
import { Shown } from "/ui/parts/states.js";
import { overTime, useQuestion } from "/ui/pages/dashboard/asking.js";

const COLOURS = /** @type {Record<string, string>} */ ({ near: "--near", far: "--far", browser: "--browser" });

/** @param {{looking: import("/ui/pages/dashboard/asking.js").Looking, onZoom: (from: number, to: number) => void}} props */
export function OverTime({ looking, onZoom }) {
  const asked = useQuestion("timeseries", looking);
  return html`<${Section} title="Over time"><${Shown} of=${asked}>${(/** @type {any} */ answer) => html`
    <p class="quiet">One point for each ${answer.step}.</p>
    <div class="charts">
      <${TimeChart} title="Requests" ...${of(answer, ["requests"], 0)} format=${whole} onZoom=${onZoom} />
      <${TimeChart} title="Failed requests" ...${of(answer, ["errors"], 0)} format=${whole} onZoom=${onZoom} />
      <${TimeChart} title="Latency: median and 95th percentile" ...${of(answer, ["p50_ms", "p95_ms"], null)} format=${latency} onZoom=${onZoom} />
      <${TimeChart} title="First token of streamed answers, median" ...${of(answer, ["first_token_p50_ms"], null)} format=${latency} onZoom=${onZoom} />
      <${TimeChart} title="Spend" ...${of(answer, ["cost_usd"], null)} format=${money} bars=${true} onZoom=${onZoom} />
    </div>`}</${Shown}></${Section}>`;
}

/** @param {number | null} value */
function whole(value) {
  return value !== null && !Number.isInteger(value) ? "" : count(value);
}

/** The axis, and a line for each side and column that has any value. @param {any} answer  @param {string[]} columns  @param {number | null} none */
function of(answer, columns, none) {
  const made = columns.map((column) => ({ column, ...overTime(answer, "side", column, none) }));
  const lines = made.flatMap(({ column, groups, values }) => groups.map((group) => ({
    name: [group ?? "not answered", ...(columns.length > 1 ? [column.split("_")[0]] : [])].join(" "),
    values: values(group), dashed: column !== columns[0], colour: group === null ? "--series-6" : COLOURS[group],
  })));
  return { xs: made[0].xs, lines: lines.filter(({ values }) => values.some((value) => value !== null && (value !== 0 || none !== 0))) };
}

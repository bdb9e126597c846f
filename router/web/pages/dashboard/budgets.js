// How far budgets are used up, how fast that goes, and what far requests cost day by day.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { TimeChart } from "/ui/parts/chart.js";
import { Section } from "/ui/parts/controls.js";
import { instant, money, percent } from "/ui/parts/format.js";
import { Shown, useAsked } from "/ui/parts/states.js";
import { overTime, useQuestion } from "/ui/pages/dashboard/asking.js";
import { REFRESH_MS } from "/ui/pages/dashboard/range.js";

/** @param {{looking: import("/ui/pages/dashboard/asking.js").Looking, onZoom: (from: number, to: number) => void}} props */
export function Budgets({ looking, onZoom }) {
  const system = useAsked("/v1/system", { everyMs: REFRESH_MS });
  const days = useQuestion("budgets", looking);
  return html`<${Section} title="Budget burn">
    <${Shown} of=${system}>${(/** @type {any} */ { budgets }) => budgets.length
      ? html`<ul class="budgets">${budgets.map((/** @type {any} */ budget) => html`<${Budget} budget=${budget} now=${looking.now} />`)}</ul>`
      : html`<p class="empty">No budget is set. One is set in the configuration, under <code>[[budgets]]</code>.</p>`}</${Shown}>
    <${Shown} of=${days}>${(/** @type {any} */ answer) => html`<${TimeChart} title="Far spend by UTC day, and since the month began" ...${lines(answer)} format=${money} onZoom=${onZoom} />`}</${Shown}>
  </${Section}>`;
}

/** @param {{budget: any, now: number}} props */
function Budget({ budget, now }) {
  const used = budget.limit_usd ? (budget.spent_usd + budget.reserved_usd) / budget.limit_usd : 1;
  const name = `${budget.scope}, a ${budget.period}`;
  return html`<li><b>${name}</b>: ${money(budget.spent_usd)} of ${money(budget.limit_usd)} spent (${percent(used)})${budget.reserved_usd > 0 && `, ${money(budget.reserved_usd)} of it reserved`}.
    <meter aria-label=${`${name}: used`} min="0" max="1" high="0.8" value=${Math.min(1, used)}>${percent(used)}</meter>
    <small>${pace(budget, now)} It begins anew ${instant(budget.resets_at)}. When it is used up: ${budget.on_exceeded}.</small></li>`;
}

/** What will have been spent in the end, if it goes on like this. @param {any} budget  @param {number} now */
function pace(budget, now) {
  const ends = new Date(budget.resets_at);
  const begun = new Date(ends);
  if (budget.period === "month") begun.setUTCMonth(begun.getUTCMonth() - 1); else begun.setUTCDate(begun.getUTCDate() - 1);
  const part = (now - begun.getTime()) / (ends.getTime() - begun.getTime());
  if (part <= 0 || part > 1) return "";
  const whole = budget.spent_usd / part;
  return `${percent(part)} of the ${budget.period} is over; at this pace ${money(whole)} by its end${whole > budget.limit_usd ? ", more than the limit" : ""}.`;
}

/** @param {any} answer */
function lines(answer) {
  const stepped = { ...answer, step: "day", rows: answer.rows.map((/** @type {any} */ row) => ({ ...row, at: `${row.day.slice(0, 10)}T00:00:00`, group: "far" })) };
  const [day, month] = ["spent_usd", "month_usd"].map((column) => overTime(stepped, "group", column));
  return { xs: day.xs, lines: [{ name: "that day", values: day.values("far") }, { name: "since the month began", values: month.values("far"), dashed: true }] };
}

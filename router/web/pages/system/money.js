// Budgets, what this machine costs, and what far sides list.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { count, instant, money, UNKNOWN } from "/ui/parts/format.js";
import { Bar, Pairs } from "/ui/parts/pairs.js";

/** @type {Record<string, string>} */
const THEN = { near: "only near is asked", refuse: "requests are refused", warn: "it is only said" };

/** @param {{told: any}} props */
export function Money({ told }) {
  const { rates } = told;
  const drift = told.price_drift.map((/** @type {any} */ one) => [one.model, one.provider, one.unit, `${one.expected_usd} by ${one.expected_from}`, `${one.live_usd} as of ${instant(one.live_as_of)}`, one.percent === null ? UNKNOWN : `${one.percent > 0 ? "+" : ""}${one.percent.toFixed(0)} %`]);
  const listings = told.listings.map((/** @type {any} */ one) => [one.provider, count(one.models), one.source, one.as_of ? instant(one.as_of) : UNKNOWN]);
  return html`<${Section} title="Budgets and prices">
    ${told.budgets.length ? told.budgets.map((/** @type {any} */ one) => html`<${Budget} key=${`${one.scope} ${one.period}`} one=${one} />`) : html`<p class="empty">No budget is set.</p>`}
    <h3>What this machine costs</h3>
    <${Pairs} of=${[["CPU", `${money(rates.cpu_usd_per_hour)} an hour`], ...(told.hardware.gpus.length ? [["GPU", `${money(rates.gpu_usd_per_hour)} an hour`]] : []), ["By", rates.source], ["Counted as", rates.cost_mode],
      ["Electricity", `${money(rates.electricity_usd_per_kwh)} a kWh, by ${rates.electricity_source}`], ["Carbon", rates.carbon_g_per_kwh === null ? UNKNOWN : `${rates.carbon_g_per_kwh} g CO₂e a kWh`]]} />
    <h3>What far sides list</h3>
    <${Table} caption="Listings known here" columns=${["far side", "models", "from", "as of"]} rows=${listings} empty="None is known." />
    ${drift.length > 0 && html`<h3>Prices that moved</h3><${Table} caption="Ours against the far side's own" columns=${["model", "far side", "unit", "ours", "theirs", "moved"]} rows=${drift} />`}</${Section}>`;
}

/** @param {{one: any}} props */
function Budget({ one }) {
  const taken = one.spent_usd + one.reserved_usd;
  const name = `${one.scope}, each ${one.period}`;
  return html`<div class="budget"><b>${name}</b>: ${money(one.spent_usd)} spent${one.reserved_usd > 0 && `, ${money(one.reserved_usd)} reserved`} of ${money(one.limit_usd)}; when it is spent, ${THEN[one.on_exceeded]}. Anew ${instant(one.resets_at)}.
    <${Bar} label=${`Budget ${name}`} value=${taken} most=${one.limit_usd} /></div>`;
}

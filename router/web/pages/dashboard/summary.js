// The range in a few figures, and who answered: near, far or the browser.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { count, latency, money, percent, side, UNKNOWN } from "/ui/parts/format.js";
import { Shown } from "/ui/parts/states.js";
import { useQuestion } from "/ui/pages/dashboard/asking.js";

const COLUMNS = ["answered by", "requests", "answered", "failed", "refused", "cancelled", "open", "p50", "p95", "cost", "cost unknown", "prediction off by"];

/** @param {{looking: import("/ui/pages/dashboard/asking.js").Looking}} props */
export function Summary({ looking }) {
  const asked = useQuestion("summary", looking);
  return html`<${Section} title="Summary"><${Shown} of=${asked}>${(/** @type {any} */ { rows }) => html`
    <${Tiles} rows=${rows} /><${Shares} rows=${rows} />
    <details><summary>By backend, as a table</summary><${Table} caption="Requests by who answered them" columns=${COLUMNS} rows=${rows.map(row)} empty="Nothing in this range." /></details>`}</${Shown}></${Section}>`;
}

/** @param {any[]} rows  @param {string} name */
function sum(rows, name) {
  return rows.reduce((total, row) => total + (row[name] ?? 0), 0);
}

/** The sum of the known costs; null where none is known. @param {any[]} rows  @returns {number | null} */
function spent(rows) {
  return rows.some((row) => row.cost_usd !== null) ? sum(rows, "cost_usd") : null;
}

/** @param {{rows: any[]}} props */
function Tiles({ rows }) {
  const unknown = sum(rows, "unknown_cost");
  /** @type {[string, string, string][]} */
  const tiles = [
    ["Requests", count(sum(rows, "requests")), ""],
    ["Answered", count(sum(rows, "ok")), `${count(sum(rows, "failed"))} failed, ${count(sum(rows, "refused"))} refused, ${count(sum(rows, "cancelled"))} cancelled`],
    ["Spent", rows.length ? money(spent(rows)) : "$0", unknown ? `and ${count(unknown)} of unknown cost` : "all costs known"],
  ];
  return html`<dl class="tiles">${tiles.map(([name, value, says]) => html`<div><dt>${name}</dt><dd><b>${value}</b><small>${says}</small></dd></div>`)}</dl>`;
}

/** Answers by where they came from. A fake says itself which of near and far it plays. @param {any[]} rows */
function shares(rows) {
  const browser = sum(rows.filter((row) => row.backend === "browser"), "ok");
  const others = rows.filter((row) => row.backend !== "browser");
  const near = Math.round(others.reduce((total, row) => total + (row.near_share ?? 0) * row.ok, 0));
  return { near, far: sum(others, "ok") - near, browser };
}

/** @param {{rows: any[]}} props */
function Shares({ rows }) {
  const parts = Object.entries(shares(rows));
  const all = parts.reduce((total, [, n]) => total + n, 0);
  if (!all) return html`<p class="empty">Nobody answered in this range.</p>`;
  return html`<h3>Share of the answers</h3>
    <div class="shares" aria-hidden="true">${parts.filter(([, n]) => n).map(([name, n]) => html`<span class=${name} style=${{ width: `${(n / all) * 100}%` }}></span>`)}</div>
    <ul class="legend">${parts.map(([name, n]) => html`<li><span class=${`dot ${name}`} aria-hidden="true"></span><b class=${`side ${name}`}>${name}</b> ${percent(n / all)} (${count(n)})</li>`)}</ul>`;
}

/** @param {any} r */
function row(r) {
  return [r.backend === null ? "nobody" : side(r.backend), ...["requests", "ok", "failed", "refused", "cancelled", "open"].map((name) => count(r[name])),
    latency(r.p50_ms), latency(r.p95_ms), r.requests ? money(r.cost_usd) : UNKNOWN, count(r.unknown_cost), percent(r.estimate_error)];
}

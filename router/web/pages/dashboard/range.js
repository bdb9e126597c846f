// The range of time that all of the dashboard is about: chosen by name, by its ends, or by dragging in a chart.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Field } from "/ui/parts/controls.js";

/** @typedef {{name: string, since: number | null, until: number | null}} Range
 * A name with its length, or `custom` with its ends; milliseconds since 1970, null is as far as the log goes */

const HOUR = 3_600_000;
/** @type {Record<string, number | null>} */
const LENGTHS = { hour: HOUR, day: 24 * HOUR, week: 7 * 24 * HOUR, all: null };
const NAMES = /** @type {[string, string][]} */ ([["hour", "Last hour"], ["day", "Last day"], ["week", "Last week"], ["all", "All"]]);
const KEPT = "nearfar.dashboard";
export const REFRESH_MS = 30_000;

/** The range by name, as it was left. @returns {Range} */
export function remembered() {
  const name = localStorage.getItem(KEPT) ?? "day";
  return { name: name in LENGTHS ? name : "day", since: null, until: null };
}

/** Where a range begins and ends when it is looked at now. @param {Range} range  @param {number} now  @returns {{since: number | null, until: number | null}} */
export function ends(range, now) {
  if (range.name === "custom") return { since: range.since, until: range.until };
  const length = LENGTHS[range.name];
  return { since: length === null ? null : now - length, until: null };
}

/** As the end of a question's query. @param {Range} range  @param {number} now */
export function queryOf(range, now) {
  const { since, until } = ends(range, now);
  const said = new URLSearchParams();
  if (since !== null) said.set("since", new Date(since).toISOString());
  if (until !== null) said.set("until", new Date(until).toISOString());
  return said.toString();
}

/** @param {{ranges: Range[], onChange: (ranges: Range[]) => void, onRefresh: () => void}} props `ranges` has the way back; the last is in force */
export function RangeBar({ ranges, onChange, onRefresh }) {
  const range = ranges[ranges.length - 1];
  const choose = (/** @type {string} */ name) => {
    if (name === "custom") return;
    localStorage.setItem(KEPT, name);
    onChange([{ name, since: null, until: null }]);
  };
  const options = range.name === "custom" ? [...NAMES, /** @type {[string, string]} */ (["custom", "Chosen ends"])] : NAMES;
  return html`<section class="card" aria-label="Range of time"><div class="row">
    <${Choice} label="Range" value=${range.name} options=${options} onChange=${choose} />
    <${Ends} key=${`${range.since} ${range.until}`} range=${range} onChange=${(/** @type {Range} */ chosen) => onChange([...ranges, chosen])} />
    <button type="button" disabled=${ranges.length < 2} onClick=${() => onChange(ranges.slice(0, -1))}>Zoom back</button>
    <button type="button" onClick=${onRefresh}>Refresh</button></div>
    <p class="quiet" role="status">${words(range)} Drag in a chart to look closer.</p></section>`;
}

/** Its ends, to be written by hand: what dragging does, without a mouse. @param {{range: Range, onChange: (range: Range) => void}} props */
function Ends({ range, onChange }) {
  const [since, begin] = useState(written(range.since));
  const [until, end] = useState(written(range.until));
  const wrong = since && until && since >= until;
  const take = (/** @type {Event} */ e) => {
    e.preventDefault();
    onChange({ name: "custom", since: read(since), until: read(until) });
  };
  return html`<form class="row" onSubmit=${take}>
    <${Field} label="From"><input type="datetime-local" step="1" value=${since} onInput=${(/** @type {any} */ e) => begin(e.currentTarget.value)} /></${Field}>
    <${Field} label="To" says=${wrong ? "It must be later than the beginning." : undefined}><input type="datetime-local" step="1" value=${until} onInput=${(/** @type {any} */ e) => end(e.currentTarget.value)} /></${Field}>
    <button type="submit" disabled=${Boolean(wrong) || (!since && !until)}>Look there</button></form>`;
}

/** @param {Range} range */
function words(range) {
  if (range.name !== "custom") return `${NAMES.find(([name]) => name === range.name)?.[1]}, asked anew every ${REFRESH_MS / 1000} s while you look.`;
  const at = (/** @type {number | null} */ ms, /** @type {string} */ none) => (ms === null ? none : new Date(ms).toLocaleString());
  return `From ${at(range.since, "the log's beginning")} to ${at(range.until, "now")}.`;
}

/** Of an instant the text that an input takes, in this reader's own time. @param {number | null} ms */
function written(ms) {
  if (ms === null) return "";
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** @param {string} text */
function read(text) {
  return text ? new Date(text).getTime() : null;
}

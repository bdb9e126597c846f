// The feed: the newest decisions as they come, and older ones page by page.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { instant, latency, money, side } from "/ui/parts/format.js";
import { Shown, useAsked } from "/ui/parts/states.js";
import { Filters, kept, queryOf } from "/ui/pages/decisions/filters.js";

const EVERY_MS = 3000;
const PAGE = 50;
const COLUMNS = ["when", "where", "model", "took", "cost", "status", "why", "task", "policy"];

export function Feed() {
  const [filters, filter] = useState(kept());
  const [cursors, turn] = useState(/** @type {string[]} */ ([])); // of the pages between the newest and this one
  const [live, keepUp] = useState(true);
  const query = queryOf(filters);
  const cursor = cursors.at(-1);
  const newest = cursor === undefined;
  const path = `/v1/decisions?limit=${PAGE}${query}${newest ? "" : `&cursor=${encodeURIComponent(cursor)}`}`;
  const asked = useAsked(path, { everyMs: newest && live ? EVERY_MS : undefined });
  const fresh = useFresh(path, asked.data);
  const choose = (/** @type {import("/ui/pages/decisions/filters.js").Chosen} */ chosen) => { filter(chosen); turn([]); };
  return html`<${Filters} chosen=${filters} onChange=${choose} />
    <${Section} title=${newest ? "Live feed" : `Older decisions, page ${cursors.length + 1}`} actions=${newest && html`<${Live} live=${live} onChange=${keepUp} />`}>
    <p class="quiet" role="status">${fresh.size > 0 && `${fresh.size} new`}</p>
    <${Shown} of=${asked}>${(/** @type {any} */ { data, next_cursor: next }) => html`
      <div class="feed"><${Table} caption=${newest ? "The latest decisions, newest first" : "Older decisions, newest first"} columns=${COLUMNS}
        rows=${data.map((/** @type {any} */ d) => row(d, fresh.has(d.decision_id)))} empty=${query ? "No decision matches these filters." : "No decision yet: ask something."} /></div>
      <${Pages} newest=${newest} next=${next} onOlder=${() => turn([...cursors, next])} onNewer=${() => turn(cursors.slice(0, -1))} onNewest=${() => turn([])} />`}</${Shown}>
    </${Section}>`;
}

/** @param {{live: boolean, onChange: (live: boolean) => void}} props */
function Live({ live, onChange }) {
  return html`<div class="row"><small>${live ? `Asked anew every ${EVERY_MS / 1000} s while you look.` : "Paused."}</small>
    <button type="button" onClick=${() => onChange(!live)}>${live ? "Pause" : "Resume"}</button></div>`;
}

/** @param {any} d a decision  @param {boolean} fresh */
function row(d, fresh) {
  return [
    html`${instant(d.ts)}${fresh && html` <mark class="new">new</mark>`}`,
    html`<b class=${`side ${side(d.backend)}`}>${d.backend ? side(d.backend) : "nobody"}</b>`, d.model,
    d.status === "open" ? "not ended" : latency(d.latency_ms), money(d.cost_usd),
    html`<span class=${`status ${d.status}`}>${d.status}${d.error_class && ` (${d.error_class})`}</span>`,
    html`<a href=${`#/decisions/${d.decision_id}`} aria-label=${`Why: ${d.task ?? "request"} at ${instant(d.ts)}`}>why?</a>`, d.task, d.policy ?? "none",
  ];
}

/** The ids that the last answer had and the one before it did not. Another question has no new ones at first.
 * @param {string} path  @param {any} answer  @returns {Set<string>} */
function useFresh(path, answer) {
  const seen = useRef(/** @type {{path: string, ids: Set<string> | null}} */ ({ path: "", ids: null }));
  const [fresh, mark] = useState(/** @type {Set<string>} */ (new Set()));
  useEffect(() => {
    if (seen.current.path !== path) { seen.current = { path, ids: null }; mark(new Set()); }
    if (answer === null) return;
    const ids = new Set(/** @type {string[]} */ (answer.data.map((/** @type {any} */ d) => d.decision_id)));
    const before = seen.current.ids;
    seen.current.ids = ids;
    const came = before && [...ids].filter((id) => !before.has(id));
    if (came?.length) mark(new Set(came));
  }, [path, answer]);
  return fresh;
}

/** @param {{newest: boolean, next: string | null, onOlder: () => void, onNewer: () => void, onNewest: () => void}} props */
function Pages({ newest, next, onOlder, onNewer, onNewest }) {
  if (newest && !next) return null;
  return html`<div class="row pages">
    <button type="button" disabled=${newest} onClick=${onNewest}>Newest</button>
    <button type="button" disabled=${newest} onClick=${onNewer}>Newer</button>
    <button type="button" disabled=${!next} onClick=${onOlder}>Older</button>
    <small>${PAGE} on a page. Rows that come meanwhile do not shift older pages.</small></div>`;
}

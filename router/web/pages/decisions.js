// The log as it grows. (One decision is explained by `#/decisions/ID`.)
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Section, Table } from "/ui/parts/controls.js";
import { instant, latency, money, side } from "/ui/parts/format.js";
import { Shown, useAsked } from "/ui/parts/states.js";

const EVERY_MS = 3000;

/** @param {{rest: string[]}} props */
export default function Decisions({ rest }) {
  const [backend, of] = useState("");
  const asked = useAsked(`/v1/decisions?limit=50${backend && `&backend=${backend}`}`, { everyMs: EVERY_MS });
  const row = (/** @type {any} */ d) => [instant(d.ts), html`<a href=${`#/decisions/${d.decision_id}`}>${d.task}</a>`, d.model, side(d.backend), d.policy, d.status, latency(d.latency_ms), money(d.cost_usd)];
  return html`<${Section} title="Live feed" actions=${html`<${Choice} label="Where" value=${backend} onChange=${of} options=${[["", "anywhere"], ["local", "near"], ["remote", "far"], "fake"]} />`}>
    <${Shown} of=${asked}>${(/** @type {any} */ { data }) => html`<${Table} caption="The latest decisions, newest first"
      columns=${["when", "task", "model", "where", "policy", "status", "took", "cost"]} rows=${data.map(row)} empty="No decision yet: ask something." />`}</${Shown}>
    </${Section}>`;
}

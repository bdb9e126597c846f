// All that the log has of a decision, column by column, with what each means. It is asked for when it is opened.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { Failure, useAsked } from "/ui/parts/states.js";

const BODIES = /** @type {[string, string][]} */ ([["inputs", "What was asked"], ["policy_body", "The policy's parameters"], ["price_book_body", "The prices in force"]]);
const LISTS = /** @type {[string, string][]} */ ([["shadows", "Shadows: run again near, for comparison"], ["feedback", "Judgements"]]);

/** @param {{decision: any}} props */
export function Everything({ decision }) {
  const [open, toggle] = useState(false);
  const meaning = useAsked(open ? "/v1/analytics/schema" : null);
  const says = meaning.data?.views?.decisions ?? {};
  const plain = Object.entries(decision).filter(([, value]) => value === null || typeof value !== "object");
  const rows = plain.map(([name, value]) => [html`<code>${name}</code>`, value === null ? html`<span class="quiet">null</span>` : String(value), says[name] ?? ""]);
  return html`<${Section} title="Everything the log has">
    <details onToggle=${(/** @type {any} */ e) => toggle(e.currentTarget.open)}><summary>Show it</summary>
      ${open && html`<${Failure} error=${meaning.error} again=${meaning.again} />
        <${Table} caption="Columns of the decision" columns=${["column", "value", "means"]} rows=${rows} />
        ${LISTS.map(([name, title]) => html`<h3>${title}</h3><${Rows} of=${decision[name]} title=${title} />`)}
        ${BODIES.map(([name, title]) => html`<h3>${title}</h3><${Body} title=${title} of=${decision[name]} />`)}`}
    </details></${Section}>`;
}

/** @param {{of: any[], title: string}} props */
function Rows({ of, title }) {
  const names = Object.keys(of[0] ?? {});
  return html`<${Table} caption=${title} columns=${names} rows=${of.map((row) => names.map((name) => String(row[name] ?? "null")))} empty="None." />`;
}

/** @param {{of: any, title: string}} props */
function Body({ of, title }) {
  if (of === null || of === undefined) return html`<p class="empty">Not stored.</p>`;
  return html`<pre tabindex="0" role="region" aria-label=${title}>${JSON.stringify(of, null, 2)}</pre>`;
}

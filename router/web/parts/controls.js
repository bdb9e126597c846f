// Labelled controls and small pieces that every page shares.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { latency, money, side } from "/ui/parts/format.js";

let ids = 0;

/** A control under its label; `says` explains it. @param {{label: string, says?: string, children: any}} props */
export function Field({ label, says, children }) {
  return html`<label class="field"><span class="name">${label}</span>${children}
    ${says && html`<small>${says}</small>`}</label>`;
}

/** @param {{label: string, value: string, options: (string | [string, string])[], onChange: (value: string) => void, says?: string}} props */
export function Choice({ label, value, options, onChange, says }) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return html`<${Field} label=${label} says=${says}>
    <select value=${value} onChange=${(/** @type {any} */ e) => onChange(e.currentTarget.value)}>
      ${pairs.map(([name, text]) => html`<option value=${name} selected=${name === value}>${text}</option>`)}
    </select></${Field}>`;
}

/** A number, or null where it is left empty.
 * @param {{label: string, value: number | null, onChange: (value: number | null) => void, min?: number, max?: number, step?: number | "any", says?: string, placeholder?: string}} props */
export function NumberField({ label, value, onChange, says, ...more }) {
  const take = (/** @type {any} */ e) => onChange(e.currentTarget.value === "" ? null : Number(e.currentTarget.value));
  return html`<${Field} label=${label} says=${says}><input type="number" value=${value ?? ""} onInput=${take} ...${more} /></${Field}>`;
}

/** Where an answer came from, what it took and cost; opens the decision.
 * @param {{backend?: string | null, model?: string | null, latencyMs?: number | null, costUsd?: number | null, decisionId?: string | null, reason?: string | null}} props */
export function Chip({ backend, model, latencyMs, costUsd, decisionId, reason }) {
  const where = side(backend);
  const said = html`<b class=${`side ${where}`}>${where}</b>${model && html`<span>${model}</span>`}
    ${latencyMs !== undefined && html`<span>${latencyMs === null ? "time unknown" : latency(latencyMs)}</span>`}
    ${costUsd !== undefined && html`<span>${costUsd === null ? "cost unknown" : money(costUsd)}</span>`}`;
  if (!decisionId) return html`<span class="chip" title=${reason ?? ""}>${said}</span>`;
  return html`<a class="chip" href=${`#/decisions/${decisionId}`} title=${reason ?? ""}>${said}<span class="why">why?</span></a>`;
}

/** A table with a caption. `notes` are what is said of each row in words: they stand beneath it, over its whole width.
 * @param {{caption: string, columns: any[], rows: any[][], notes?: any[], empty?: string}} props */
export function Table({ caption, columns, rows, notes = [], empty = "Nothing yet." }) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}><table><caption>${caption}</caption>
    <thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead>
    <tbody>${rows.map((row, i) => html`<tr class=${notes[i] ? "noted" : null}>${row.map((cell) => html`<td>${cell}</td>`)}</tr>
      ${notes[i] && html`<tr><td colspan=${columns.length}><div class="said-of">${notes[i]}</div></td></tr>`}`)}</tbody></table></div>`;
}

/** @param {{title: string, children: any, actions?: any}} props */
export function Section({ title, children, actions }) {
  const id = `section-${(ids += 1)}`;
  return html`<section class="card" aria-label=${title}><header><h2 id=${id}>${title}</h2>${actions}</header>${children}</section>`;
}

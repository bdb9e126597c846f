// A form by a list of its fields. What is empty is left out, so that it is the default.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Field, NumberField } from "/ui/parts/controls.js";

/** @typedef {{name: string, label: string, kind?: "text" | "list" | "number" | "flag" | "choice", options?: [string, string][], says?: string, required?: boolean, min?: number, max?: number}} Spec */

/** @param {{specs: Spec[], value: any, onChange: (value: any) => void, error?: any}} props `name` may be a path: `match.task` */
export function Fields({ specs, value, onChange, error }) {
  return html`<div class="fields">${specs.map((spec) => html`<${One} key=${spec.name} spec=${spec} value=${at(value, spec.name)} fault=${error?.param && error.param === spec.name ? error.message : ""}
    onChange=${(/** @type {any} */ part) => onChange(put(value, spec.name.split("."), part))} />`)}</div>`;
}

/** @param {{spec: Spec, value: any, fault: string, onChange: (value: any) => void}} props */
function One({ spec, value, fault, onChange }) {
  const { label, kind = "text", required, min, max } = spec;
  const says = fault || spec.says;
  const wrong = fault ? "true" : null;
  if (kind === "flag") return html`<label class="check"><input type="checkbox" checked=${Boolean(value)} onChange=${(/** @type {any} */ e) => onChange(e.currentTarget.checked)} /><span>${label}</span></label>`;
  if (kind === "choice") return html`<${Choice} label=${label} says=${says} value=${value ?? ""} options=${spec.options ?? []} onChange=${(/** @type {string} */ v) => onChange(v || null)} />`;
  if (kind === "number") return html`<${NumberField} label=${label} says=${says} value=${value ?? null} min=${min} max=${max} step="any" onChange=${onChange} />`;
  const text = kind === "list" ? [value ?? []].flat().join("\n") : value ?? "";
  const typed = (/** @type {any} */ e) => onChange(kind === "list" ? listed(e.currentTarget.value) : e.currentTarget.value || null);
  const tell = { value: text, onInput: typed, required, "aria-invalid": wrong };
  return html`<${Field} label=${label} says=${says}>${kind === "list" ? html`<textarea rows="2" ...${tell}></textarea>` : html`<input autocomplete="off" ...${tell} />`}</${Field}>`;
}

/** One a line; the last line may still be being written. @param {string} text */
function listed(text) {
  return text.split("\n");
}

/** What is to be sent: without empty lines, and without what is empty. @param {any} value @returns {any} */
export function tidy(value) {
  if (Array.isArray(value)) return value.map((one) => (typeof one === "string" ? one.trim() : tidy(one))).filter((one) => one !== "");
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).map(([name, part]) => [name, tidy(part)]).filter(([, part]) => part !== null && part !== undefined && !(Array.isArray(part) && !part.length));
  return Object.fromEntries(kept);
}

/** @param {any} value  @param {string} path */
const at = (value, path) => path.split(".").reduce((part, name) => part?.[name], value);

/** @param {any} value  @param {string[]} path  @param {any} part  @returns {any} */
function put(value, [name, ...rest], part) {
  return { ...value, [name]: rest.length ? put(value?.[name] ?? {}, rest, part) : part };
}

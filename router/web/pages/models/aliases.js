// Aliases: one name for several models.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Fields, tidy } from "/ui/pages/models/fields.js";
import { inPath, Saved, useSaving } from "/ui/pages/models/saving.js";
import { Confirmed } from "/ui/parts/confirm.js";
import { Section, Table } from "/ui/parts/controls.js";

/** @type {import("/ui/pages/models/fields.js").Spec[]} */
const SPECS = [
  { name: "name", label: "Name", required: true },
  { name: "models", label: "Models, one a line", kind: "list", required: true, says: "Of one task; the policy ranks them. Other aliases may be named." },
  { name: "fallbacks", label: "Then, in this order, one a line", kind: "list" },
  { name: "policy", label: "Policy", says: "Empty: the request's, or the server's." },
  { name: "on_stream_failure", label: "When a stream breaks", kind: "choice", options: [["", "as configured"], ["continue", "continue with another"], ["error", "end with an error"], ["hold", "hold back until it is whole"]] },
];
const EMPTY = { name: "", models: [], fallbacks: [], policy: null, on_stream_failure: null };

/** @param {{catalog: any, again: () => void}} props */
export function Aliases({ catalog, again }) {
  const saving = useSaving(catalog, again);
  const [draft, write] = useState(/** @type {any} */ (null));
  const path = (/** @type {string} */ name) => `/v1/aliases/${inPath(name)}`;
  const submit = async (/** @type {Event} */ e) => {
    e.preventDefault();
    const { name, enabled, ...body } = tidy(draft);
    const done = await saving.save("PUT", path(name), { ...body, enabled: enabled ?? true }, `${name} is set.`);
    if (done) write(null);
  };
  const turn = (/** @type {any} */ one) => saving.save("PATCH", path(one.name), { enabled: !one.enabled }, `${one.name} is ${one.enabled ? "disabled" : "enabled"}.`);
  const row = (/** @type {any} */ one) => [one.name, one.models.join(", ") || "nobody", one.entry?.fallbacks.join(", ") ?? "", one.entry?.policy ?? "", `${one.origin}${one.enabled ? "" : ", disabled"}`,
    html`<div class="row"><button type="button" aria-label=${`Change ${one.name}`} onClick=${() => write({ ...EMPTY, ...one.entry, name: one.name })}>Change</button>
      <button type="button" aria-label=${`${one.enabled ? "Disable" : "Enable"} ${one.name}`} disabled=${saving.act.busy} onClick=${() => turn(one)}>${one.enabled ? "Disable" : "Enable"}</button>
      ${(one.origin === "run-time" || one.enabled_at_run_time !== null) && html`<${Confirmed} label=${one.covers || one.origin !== "run-time" ? "Take back" : "Remove"} of=${one.name} busy=${saving.act.busy} yes="Do it"
        question=${one.covers || one.origin !== "run-time" ? `Have the alias ${one.name} as it was before it was changed here?` : `Remove the alias ${one.name}? Requests that name it are refused from then on.`} onYes=${() => saving.save("DELETE", path(one.name), undefined, `${one.name} is taken back.`)} />`}</div>`];
  return html`<${Section} title="Aliases" actions=${html`<button type="button" onClick=${() => write(EMPTY)}>Set an alias</button>`}>
    ${draft && html`<form class="stack" onSubmit=${submit}><${Fields} specs=${SPECS} value=${draft} error=${saving.act.error} onChange=${write} />
      <div class="row"><button class="main" disabled=${saving.act.busy}>Save the alias</button><button type="button" onClick=${() => write(null)}>Close</button></div></form>`}
    <${Saved} of=${saving} />
    <${Table} caption="A name that stands for several models" columns=${["name", "models", "then", "policy", "written by", html`<span class="unseen">actions</span>`]} rows=${catalog.aliases.map(row)} /></${Section}>`;
}

// Routes: rules by which some requests are routed. The first that matches decides, so their order counts.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Fields, tidy } from "/ui/pages/models/fields.js";
import { SPECS } from "/ui/pages/models/route_fields.js";
import { Saved, useSaving } from "/ui/pages/models/saving.js";
import { Confirmed } from "/ui/parts/confirm.js";
import { Section, Table } from "/ui/parts/controls.js";

/** @param {{catalog: any, again: () => void}} props */
export function Routes({ catalog, again }) {
  const saving = useSaving(catalog, again);
  const [draft, write] = useState(/** @type {{of: string | null, entry: any} | null} */ (null));
  const routes = catalog.routes.data;
  const path = (/** @type {string} */ name) => `/v1/routes/${encodeURIComponent(name)}`;
  const submit = async (/** @type {Event} */ e) => {
    e.preventDefault();
    if (!draft) return;
    const entry = tidy(draft.entry);
    const done = draft.of === null ? await saving.save("POST", "/v1/routes", { route: entry }, "The route is behind all others.") : await saving.save("PUT", path(draft.of), entry, `${draft.of} is changed.`);
    if (done) write(null);
  };
  const move = (/** @type {number} */ i, /** @type {number} */ by) => {
    const entries = routes.map((/** @type {any} */ one) => one.entry);
    entries.splice(i + by, 0, ...entries.splice(i, 1));
    saving.save("PUT", "/v1/routes", { routes: entries }, `${routes[i].name} is number ${i + by + 1} now.`);
  };
  const acts = (/** @type {any} */ one, /** @type {number} */ i) => html`<div class="row">
    <button type="button" aria-label=${`Change ${one.name}`} onClick=${() => write({ of: one.name, entry: one.entry })}>Change</button>
    <button type="button" aria-label=${`${one.enabled ? "Disable" : "Enable"} ${one.name}`} onClick=${() => saving.save("PATCH", path(one.name), { enabled: !one.enabled }, `${one.name} is ${one.enabled ? "disabled" : "enabled"}.`)}>${one.enabled ? "Disable" : "Enable"}</button>
    <button type="button" aria-label=${`Move ${one.name} up`} disabled=${i === 0 || saving.act.busy} onClick=${() => move(i, -1)}>Up</button>
    <button type="button" aria-label=${`Move ${one.name} down`} disabled=${i === routes.length - 1 || saving.act.busy} onClick=${() => move(i, 1)}>Down</button>
    <${Confirmed} label="Remove" of=${one.name} question=${`Remove ${one.name}? The others keep their order.`} yes="Remove it" onYes=${() => saving.save("DELETE", path(one.name), undefined, `${one.name} is removed.`)} /></div>`;
  const rows = routes.map((/** @type {any} */ one, /** @type {number} */ i) => [i + 1, one.name, said(one.entry.match) || "every request", said(one.entry.use) || "nothing", one.enabled ? "enabled" : "disabled", acts(one, i)]);
  return html`<${Section} title="Routes" actions=${html`<button type="button" onClick=${() => write({ of: null, entry: {} })}>Add a route</button>`}>
    <p class="quiet">The list is ${catalog.routes.origin === "file" ? "the configuration file's" : "the one made here"}.</p>
    ${draft && html`<form class="stack" onSubmit=${submit}><${Fields} specs=${SPECS} value=${draft.entry} error=${saving.act.error} onChange=${(/** @type {any} */ entry) => write({ ...draft, entry })} />
      <div class="row"><button class="main" disabled=${saving.act.busy}>Save the route</button><button type="button" onClick=${() => write(null)}>Close</button></div></form>`}
    <${Saved} of=${saving} />
    <${Table} caption="In their order: the first that matches decides" columns=${["number", "name", "takes", "gives", "state", html`<span class="unseen">actions</span>`]} rows=${rows} empty="No route: every request goes by its own word and the policy." />
    ${catalog.routes.origin === "run-time" && html`<p><${Confirmed} label="Take the file's routes again" question="Forget every change of the routes that was made here?" yes="Forget them" onYes=${() => saving.save("DELETE", "/v1/routes", undefined, "The file's routes are in force.")} /></p>`}</${Section}>`;
}

/** What is said of it, in a line. @param {any} part */
function said(part) {
  const kept = Object.entries(tidy(part)).filter(([name, value]) => value !== false && !(name === "zone" && !part.hours && !part.days) && !(name === "backend" && value === "any"));
  return kept.map(([name, value]) => `${name.replaceAll("_", " ")}: ${Array.isArray(value) ? value.join(", ") : value === true ? "yes" : value}`).join("; ");
}

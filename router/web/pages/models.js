// The catalogue: what there is and what of it is loaded; for admins, changing it while requests run.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Aliases } from "/ui/pages/models/aliases.js";
import { Editor } from "/ui/pages/models/editor.js";
import { History } from "/ui/pages/models/history.js";
import { List } from "/ui/pages/models/list.js";
import { Routes } from "/ui/pages/models/routes.js";
import { Busy, Failure, useAsked } from "/ui/parts/states.js";

const EVERY_MS = 4000;
const PARTS = [["", "Models"], ["aliases", "Aliases"], ["routes", "Routes"], ["history", "History"]];

/** @param {{rest: string[]}} props */
export default function Models({ rest: [part = "", name = ""] }) {
  const catalog = useAsked("/v1/catalog");
  const listed = useAsked("/v1/models", { everyMs: EVERY_MS });
  const again = () => { catalog.again(); listed.again(); };
  const forbidden = /** @type {any} */ (catalog.error)?.status === 403;
  return html`<nav class="parts" aria-label="Parts of the catalogue">${PARTS.map(([to, title]) => html`<a href=${`#/models${to && `/${to}`}`} aria-current=${to === part ? "page" : null}>${title}</a>`)}</nav>
    ${forbidden ? html`<p class="note">Seeing who wrote what, loading and changing the catalogue need a key with the scope admin: the key of this tab has not got it.</p>` : html`<${Failure} error=${catalog.error} again=${catalog.again} />`}
    ${catalog.data?.outdated.map((/** @type {string} */ said) => html`<p class="note">${said}</p>`)}
    ${catalog.data?.warnings.map((/** @type {string} */ said) => html`<p class="note">${said}</p>`)}
    <${Part} part=${part} name=${name} catalog=${catalog.data} busy=${catalog.busy} listed=${listed} again=${again} forbidden=${forbidden} />`;
}

/** @param {{part: string, name: string, catalog: any, busy: boolean, listed: any, again: () => void, forbidden: boolean}} props */
function Part({ part, name, catalog, busy, listed, again, forbidden }) {
  if (part === "") return html`<${List} listed=${listed} catalog=${catalog} again=${again} />`;
  if (forbidden) return null;
  if (!catalog) return html`<${Busy} />`;
  if (part === "aliases") return html`<${Aliases} catalog=${catalog} again=${again} />`;
  if (part === "routes") return html`<${Routes} catalog=${catalog} again=${again} />`;
  if (part === "history") return html`<${History} catalog=${catalog} again=${again} />`;
  if (part === "add") return html`<${Editor} key="add" model=${null} catalog=${catalog} again=${again} />`;
  const model = catalog.models.find((/** @type {any} */ one) => one.id === name);
  if (model) return html`<${Editor} key=${name} model=${model} catalog=${catalog} again=${again} />`;
  if (busy) return html`<${Busy} />`;
  return html`<p class="empty">The catalogue has no model ${name}. It may have been removed. <a href="#/models">All models</a></p>`;
}

// Every catalogue there was, and going back to one.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Saved, useSaving } from "/ui/pages/models/saving.js";
import { Confirmed } from "/ui/parts/confirm.js";
import { Section, Table } from "/ui/parts/controls.js";
import { instant } from "/ui/parts/format.js";
import { Shown, useAsked } from "/ui/parts/states.js";

/** @param {{catalog: any, again: () => void}} props */
export function History({ catalog, again }) {
  const asked = useAsked("/v1/catalog/snapshots?limit=100");
  const saving = useSaving(catalog, () => { again(); asked.again(); });
  const row = (/** @type {any} */ one) => [instant(new Date(one.at_us / 1000).toISOString()), one.author ?? "nobody was asked", one.change, html`<code>${one.snapshot}</code>`,
    one.snapshot === catalog.snapshot ? "in force" : html`<${Confirmed} label="Go back" of=${`to ${one.snapshot}`} busy=${saving.act.busy} yes="Go back to it" question=${`Have the changes of ${one.snapshot} again, over the file as it is now? What was changed after it is undone.`}
      onYes=${() => saving.save("POST", "/v1/catalog/rollback", { snapshot: one.snapshot }, `It is as of ${one.snapshot}.`)} />`];
  return html`<${Section} title="History"><${Saved} of=${saving} />
    <${Shown} of=${asked}>${(/** @type {any} */ { data, total }) => html`<${Table} caption=${`The catalogues there were, newest first: ${data.length} of ${total}`} columns=${["when", "by", "change", "snapshot", html`<span class="unseen">actions</span>`]} rows=${data.map(row)} />`}</${Shown}></${Section}>`;
}

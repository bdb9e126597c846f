// What admins did.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Section, Table } from "/ui/parts/controls.js";
import { instant } from "/ui/parts/format.js";
import { Shown, useAsked } from "/ui/parts/states.js";

const EVERY_MS = 5000;

export function Audit() {
  const [most, of] = useState("50");
  const asked = useAsked(`/v1/audit?limit=${most}`, { everyMs: EVERY_MS });
  const row = (/** @type {any} */ line) => [instant(line.at), line.who, line.action, line.subject, line.surface, line.result];
  return html`<${Section} title="What admins did" actions=${html`<${Choice} label="Newest" value=${most} options=${["50", "200", "1000"]} onChange=${of} />`}>
    <${Shown} of=${asked}>${(/** @type {any} */ { data }) => html`<${Table} caption="The audit log, newest first" columns=${["when", "who", "did", "to", "through", "and it ended"]} rows=${data.map(row)} empty="Nothing was changed yet." />`}</${Shown}></${Section}>`;
}

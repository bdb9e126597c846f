// The keys there are: their state, and giving them another secret or an end.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask, credentials } from "/ui/api.js";
import { Secret } from "/ui/pages/keys/secret.js";
import { Came, useAct } from "/ui/parts/acting.js";
import { Confirmed } from "/ui/parts/confirm.js";
import { Choice, Section, Table } from "/ui/parts/controls.js";
import { instant } from "/ui/parts/format.js";

/** @type {[string, string][]} */
const OVERLAPS = [["0", "no longer"], ["3600", "for an hour"], ["86400", "for a day"], ["604800", "for a week"]];
const LIMITS = { requests_per_minute: "requests a minute", tokens_per_minute: "tokens a minute", concurrency: "at once" };

/** @param {{keys: any[], again: () => void}} props */
export function Listed({ keys, again }) {
  const [overlap, keep] = useState("3600");
  const [issued, show] = useState(/** @type {any} */ (null));
  const act = useAct();
  const revoke = async (/** @type {any} */ key) => {
    await act.run(() => ask("DELETE", path(key)), `${key.name} is revoked: it opens nothing any more.`);
    again();
  };
  const rotate = async (/** @type {any} */ key) => {
    const made = await act.run(() => ask("POST", `${path(key)}/rotate`, { overlap_s: Number(overlap) }));
    if (made) show({ ...made, replaces: key.prefix });
    again();
  };
  const acts = (/** @type {any} */ key) => key.state === "active" && html`<div class="row">
    <${Confirmed} label="Rotate" of=${key.name} busy=${act.busy} question=${`Give ${key.name} a new secret? The present one still works ${words(OVERLAPS, overlap)}.`} yes="Make a new secret" onYes=${() => rotate(key)} />
    <${Confirmed} label="Revoke" of=${key.name} busy=${act.busy} question=${asked(key)} yes="Revoke it" onYes=${() => revoke(key)} /></div>`;
  const rows = keys.map((key) => [html`<b>${key.name}</b>`, html`<code>${key.prefix}…</code>`, state(key), key.scopes.join(", "), limits(key.limits),
    key.expires_at ? instant(key.expires_at) : "never", key.last_used_at ? instant(key.last_used_at) : "never", acts(key)]);
  return html`<${Section} title="Keys" actions=${html`<${Choice} label="After a rotation, the old secret works" value=${overlap} options=${OVERLAPS} onChange=${keep} />`}>
    ${issued && html`<${Secret} key=${issued.secret} issued=${issued} replaces=${issued.replaces} onClose=${() => show(null)} />`}
    <${Came} of=${act} />
    <${Table} caption="API keys, oldest first; when one was last used is right to the hour" columns=${["name", "begins with", "state", "may", "limits of its own", "ends", "last used", html`<span class="unseen">actions</span>`]} rows=${rows} empty="No key yet." /></${Section}>`;
}

/** @param {any} key */
const path = (key) => `/v1/keys/${encodeURIComponent(key.name)}`;

/** @param {[string, string][]} of  @param {string} value */
const words = (of, value) => of.find(([name]) => name === value)?.[1] ?? "";

/** @param {any} key */
function asked(key) {
  const own = credentials.key.startsWith(key.prefix) ? " It is the key of this tab: you will be asked for another one." : "";
  return `Revoke ${key.name}? Whoever uses it is refused at once, for ever; its name is not given again.${own}`;
}

/** @param {any} key */
function state(key) {
  const old = key.old_secrets.map((/** @type {any} */ one) => html`<br /><small>${one.prefix}… works until ${one.works_until ? instant(one.works_until) : "revoked"}</small>`);
  return html`<span class=${`state ${key.state}`}>${key.state}</span>${key.revoked_at && html`<br /><small>${instant(key.revoked_at)}</small>`}${old}`;
}

/** @param {Record<string, number | null | undefined>} limits */
function limits(limits) {
  const said = Object.entries(LIMITS).filter(([name]) => limits[name] != null).map(([name, of]) => `${limits[name]} ${of}`);
  return said.join(", ") || "none";
}

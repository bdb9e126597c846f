// How this server is, now: what somebody should read first, then each part of it.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Flow } from "/ui/pages/system/flow.js";
import { Guards } from "/ui/pages/system/guards.js";
import { Machine } from "/ui/pages/system/machine.js";
import { Money } from "/ui/pages/system/money.js";
import { Token } from "/ui/pages/system/token.js";
import { Section } from "/ui/parts/controls.js";
import { instant, span } from "/ui/parts/format.js";
import { Pairs } from "/ui/parts/pairs.js";
import { Shown, useAsked } from "/ui/parts/states.js";

const EVERY_MS = 3000;
/** @type {Record<string, string>} */
const WORDS = { ok: "All is well.", warning: "Something needs a look.", error: "Something does not work." };

export default function System() {
  const asked = useAsked("/v1/system", { everyMs: EVERY_MS });
  return html`<${Shown} of=${asked}>${(/** @type {any} */ told) => html`<${Summary} told=${told} />
    <${Machine} told=${told} />
    ${told.hub_token && html`<${Token} token=${told.hub_token} offline=${told.offline} again=${asked.again} />`}
    <${Flow} told=${told} /><${Money} told=${told} />${told.log && html`<${Guards} told=${told} />`}`}</${Shown}>`;
}

/** @param {{told: any}} props */
function Summary({ told }) {
  const whole = told.problems !== undefined;
  return html`<${Section} title="Health">
    <p role="status" class=${`health ${told.health}`}>${WORDS[told.health]}</p>
    ${whole && told.problems.length > 0 && html`<ul class="problems">${told.problems.map((/** @type {any} */ one) => html`<li class=${one.level}><b>${one.level}:</b> ${one.message}</li>`)}</ul>`}
    ${!whole && html`<p class="note">This key is told what all share. Breakers, queues, the log and the hub's token need a key with the scope admin.</p>`}
    <${Pairs} of=${[["Version", told.version], ["Up for", whole ? html`${span(told.uptime_s)}, since ${instant(told.started_at)}` : "told to admins"],
      ["Policy", told.policy], ["Network", told.offline ? "sealed: nothing leaves this machine" : "open"], ["Far sides", told.providers.join(", ") || "none"]]} /></${Section}>`;
}

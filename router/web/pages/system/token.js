// The hub's token: whether it is good, and where it can be changed. The pages of the hub are linked, never fetched.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Came, useAct } from "/ui/parts/acting.js";
import { Section } from "/ui/parts/controls.js";
import { instant } from "/ui/parts/format.js";
import { Pairs } from "/ui/parts/pairs.js";

const TOKENS_PAGE = "https://huggingface.co/settings/tokens";
/** @type {Record<string, string>} */
const STATES = {
  not_configured: "none is configured", invalid: "not accepted", valid: "valid", valid_no_inference: "valid, but not for inference",
  exhausted: "valid, but the credits are gone", unknown: "not known yet",
};

/** @param {{token: any, offline: boolean, again: () => void}} props */
export function Token({ token, offline, again }) {
  const act = useAct();
  const check = async () => {
    await act.run(() => ask("POST", "/v1/system/token", {}), (report) => `Asked: ${STATES[report.state] ?? report.state}.`);
    again();
  };
  const elsewhere = token.link && token.link !== TOKENS_PAGE && token.link.startsWith("https://");
  return html`<${Section} title="Hub token" actions=${html`<button type="button" disabled=${act.busy} onClick=${check}>Ask the hub now</button>`}>
    <${Pairs} of=${[["State", html`<span class=${`state ${token.state}`}>${STATES[token.state] ?? token.state}</span>`], ["Which means", token.detail],
      ["Since", instant(token.since)], ["The hub was asked", token.checked_at ? instant(token.checked_at) : "never"]]} />
    ${offline && html`<p class="quiet">This server is offline: the hub is not asked.</p>`}
    <${Came} of=${act} />
    <p><a href=${TOKENS_PAGE} target="_blank" rel="noreferrer">The hub's token settings</a>${elsewhere && html` · <a href=${token.link} target="_blank" rel="noreferrer">What the hub says about it</a>`}</p></${Section}>`;
}

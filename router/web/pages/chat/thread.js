// What was said, with where each answer came from.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Chip } from "/ui/parts/controls.js";
import { Failure } from "/ui/parts/states.js";
import { Said, sentences } from "/ui/pages/chat/text.js";

/** @typedef {import("/ui/pages/chat/store.js").Message} Message */
/** @typedef {import("/ui/pages/chat/store.js").About} About */

const HEARD = 3; // sentences that stay in the hidden log: whoever reads the page on finds the answer itself

/** @param {{messages: Message[], again: () => void}} props */
export function Thread({ messages, again }) {
  return html`<ol class="thread" aria-label="What was said">${messages.map((message, i) => html`<li key=${message.id}>
    ${message.role === "user" ? html`<${Question} message=${message} />`
      : html`<${Answer} message=${message} again=${i === messages.length - 1 ? again : undefined} />`}</li>`)}</ol>`;
}

/** @param {{message: Message}} props */
function Question({ message }) {
  return html`<article class="asked" aria-label="You"><div class="said">${message.content}</div></article>`;
}

/** @param {{message: Message, again?: () => void}} props */
function Answer({ message, again }) {
  const { state, content, about = {} } = message;
  const ended = state !== "writing";
  return html`<article class="answered" aria-label="Answer" aria-busy=${!ended}>
    <${Said} text=${content} />
    ${!ended && html`<p class="busy"><span class="spinner" aria-hidden="true"></span>${content ? "Writing …" : "Waiting for the first word …"}</p>`}
    ${state === "stopped" && html`<p class="mark">Stopped: the answer is not whole. ${again && html`<button type="button" onClick=${again}>Try again</button>`}</p>`}
    ${state === "cut" && html`<p class="mark">Cut off: the answer is not whole.</p>`}
    ${(state === "cut" || state === "failed") && html`<${Failure} error=${message.error} again=${again} />`}
    ${state === "done" && !content && html`<p class="mark">The answer is empty.</p>`}
    <${Ending} about=${about} />
    ${about.decisionId && html`<${Chip} ...${about} latencyMs=${ended ? about.latencyMs ?? null : undefined} costUsd=${ended ? about.costUsd ?? null : undefined} />`}
  </article>`;
}

/** What is unusual about how it came and ended. @param {{about: About}} props */
function Ending({ about }) {
  return html`${(about.splices ?? []).map((splice) => html`<p class="mark">From character ${splice.from_char + 1} on ${splice.candidate} wrote it: whoever began broke off.</p>`)}
    ${about.finish === "length" && html`<p class="mark">It ended at the longest answer allowed. Allow more under Limits.</p>`}
    ${about.finish === "content_filter" && html`<p class="mark">The filter of whoever answered ended it.</p>`}`;
}

/** Tells a screen reader of the answer that is being written: each sentence once, when it is complete.
 * @param {{message: Message | undefined}} props */
export function Announced({ message }) {
  const answer = message?.role === "assistant" ? message : null;
  const ended = answer !== null && answer.state !== "writing";
  const said = answer === null ? [] : sentences(answer.content, ended).map((text, i) => ({ text, key: `${answer.id} ${i}` }));
  return html`<div class="unseen" role="log" aria-label="The answer as it is written">
    ${said.slice(-HEARD).map(({ text, key }) => html`<p key=${key}>${text}</p>`)}</div>`;
}

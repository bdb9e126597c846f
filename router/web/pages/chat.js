// Talk with a model, wherever it runs; what was said is kept in this browser alone.
import { html, useEffect, useRef } from "/ui/vendor/htm/standalone.module.js";
import { instant } from "/ui/parts/format.js";
import { Failure, useAsked } from "/ui/parts/states.js";
import { answerAgain, say } from "/ui/pages/chat/answering.js";
import { Composer, focusBox } from "/ui/pages/chat/composer.js";
import { OptionsFields, useOptions } from "/ui/pages/chat/options.js";
import { begun, forget, running, show, useConversations } from "/ui/pages/chat/store.js";
import { Announced, Thread } from "/ui/pages/chat/thread.js";

/** @typedef {import("/ui/pages/chat/store.js").Conversation} Conversation */

const NOTHING = /** @type {import("/ui/pages/chat/store.js").Message[]} */ ([]);
const TITLE_CHARS = 60;
const NEAR_END_PX = 40; // whoever is so near the end reads along

export default function Chat() {
  const { all, open, trouble } = useConversations();
  const [options, change] = useOptions();
  const models = useAsked("/v1/models");
  const messages = open?.messages ?? NOTHING;
  const busy = open !== null && running.has(open.id);
  const end = useFollowed(messages);
  const send = (/** @type {string} */ text) => {
    const id = open?.id ?? begun().id;
    show(id);
    say(id, text, options);
  };
  return html`<div class="chat">
    <${Conversations} all=${all} open=${open} />
    <div><${Failure} error=${trouble} />
      ${messages.length ? html`<${Thread} messages=${messages} again=${busy || !open ? undefined : () => { answerAgain(open.id, options); focusBox(); }} />`
        : html`<p class="empty">Nothing said yet. What you write here is kept in this browser only; the server's log keeps its figures.</p>`}
      <${Announced} message=${messages.at(-1)} />
      <${Composer} busy=${busy} onlyNear=${options.private} send=${send} stop=${() => open && running.get(open.id)?.abort()}>
        <${OptionsFields} options=${options} change=${change} models=${models} /></${Composer}><span ref=${end}></span></div></div>`;
}

/** @param {{all: Conversation[], open: Conversation | null}} props */
function Conversations({ all, open }) {
  const remove = () => { if (open && confirm("Delete this conversation? It is kept nowhere else.")) { forget(open.id); focusBox(); } };
  return html`<nav class="conversations" aria-label="Conversations"><div class="row">
      <button type="button" onClick=${() => { show(null); focusBox(); }} disabled=${!open}>New conversation</button>
      ${open && html`<button type="button" class="risky" onClick=${remove}>Delete this one</button>`}</div>
    <ul>${all.map((one) => html`<li key=${one.id}><button type="button" aria-current=${one === open ? "true" : null} title=${instant(new Date(one.at).toISOString())}
      onClick=${() => show(one.id)}>${titleOf(one)}</button></li>`)}</ul></nav>`;
}

/** @param {Conversation} conversation */
function titleOf({ messages }) {
  const text = messages[0]?.content ?? "";
  return text.length > TITLE_CHARS ? `${text.slice(0, TITLE_CHARS)} …` : text;
}

/** Keep the end in sight while an answer grows, for whoever is there already.
 * @param {unknown} grown  @returns {{current: any}} what marks the end */
function useFollowed(grown) {
  const end = useRef(/** @type {any} */ (null));
  const along = useRef(true);
  useEffect(() => {
    const moved = () => { along.current = document.documentElement.scrollHeight - innerHeight - scrollY < NEAR_END_PX; };
    addEventListener("scroll", moved);
    return () => removeEventListener("scroll", moved);
  }, []);
  useEffect(() => { if (along.current) end.current?.scrollIntoView({ block: "end" }); }, [grown]);
  return end;
}

// The box: written or spoken into, sent with Enter.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { RecordButton } from "/ui/parts/recorder.js";
import { Busy, Failure } from "/ui/parts/states.js";
import { writtenDown } from "/ui/pages/chat/hearing.js";

const BOX = "chat-message";

/** Where one writes: here the focus goes when what had it is gone. */
export function focusBox() {
  document.getElementById(BOX)?.focus();
}

/** @param {{busy: boolean, onlyNear: boolean, send: (text: string) => void, stop: () => void, children: any}} props
 * `onlyNear`: what is spoken does not leave the server's machine */
export function Composer({ busy, onlyNear, send, stop, children }) {
  const [text, type] = useState("");
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    focusBox();
    if (busy || !text.trim()) return;
    type("");
    send(text.trim());
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  };
  const heard = (/** @type {string} */ words) => { type((before) => [before.trimEnd(), words].filter(Boolean).join(" ")); focusBox(); };
  return html`<form class="card composer" onSubmit=${submit}>${children}
    <label class="field"><span class="name">Message</span>
      <textarea id=${BOX} rows="3" value=${text} onKeyDown=${key} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} aria-describedby="chat-keys"></textarea></label>
    <div class="row actions"><small id="chat-keys">Enter sends, Shift+Enter begins a line.</small>
      <${Microphone} onlyNear=${onlyNear} heard=${heard} />
      ${busy ? html`<button key="stop" type="button" class="risky" onClick=${() => { stop(); focusBox(); }}>Stop</button>`
        : html`<button key="send" class="main" disabled=${!text.trim()}>Send</button>`}</div></form>`;
}

/** @param {{onlyNear: boolean, heard: (words: string) => void}} props */
function Microphone({ onlyNear, heard }) {
  const [sound, take] = useState(/** @type {Blob | null} */ (null));
  const [failed, fail] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    if (!sound) return undefined;
    const stop = new AbortController();
    writtenDown(sound, onlyNear, stop.signal).then((words) => { take(null); heard(words); },
      (error) => { if (!stop.signal.aborted) { take(null); fail(error); } });
    return () => stop.abort();
  }, [sound]);
  const recorded = (/** @type {Blob} */ blob) => { fail(null); take(blob); focusBox(); };
  return html`<${Failure} error=${failed} />
    ${sound ? html`<${Busy} what="Writing down what you said" /><button type="button" onClick=${() => { take(null); focusBox(); }}>Cancel</button>`
      : html`<${RecordButton} onRecorded=${recorded} onError=${fail} />`}`;
}

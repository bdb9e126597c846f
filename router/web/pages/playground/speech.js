// Recordings written down: dropped, chosen or spoken, with the words as they are understood.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Choice, Field, Section } from "/ui/parts/controls.js";
import { useKept, useStored } from "/ui/parts/kept.js";
import { RecordButton } from "/ui/parts/recorder.js";
import { Failure } from "/ui/parts/states.js";
import { AUTO, TaskModel } from "/ui/parts/task_model.js";
import { Drop } from "/ui/pages/playground/drop.js";
import { Transcript } from "/ui/pages/playground/transcript.js";

const TASK = "automatic-speech-recognition";

/** @typedef {import("/ui/pages/playground/transcript.js").Recording} Recording */

export default function Speech() {
  const [wish, change] = useStored("nearfar.playground.speech", { model: AUTO, language: "", timestamps: "segment" });
  const [recordings, keep] = useKept("recordings", /** @type {Recording[]} */ ([]));
  const take = (/** @type {File} */ file) => keep((all) => [{ id: crypto.randomUUID(), file, url: URL.createObjectURL(file), text: "", answer: null }, ...all]);
  const [error, fail] = useState(/** @type {unknown} */ (null));
  const spoken = (/** @type {Blob} */ heard) => { fail(null); take(new File([heard], `Spoken at ${new Date().toLocaleTimeString()}`, { type: heard.type })); };
  const changed = (/** @type {Recording} */ of, /** @type {Partial<Recording>} */ fields) => keep((all) => all.map((one) => (one.id === of.id ? { ...one, ...fields } : one)));
  const remove = (/** @type {Recording} */ of) => { URL.revokeObjectURL(of.url); keep((all) => all.filter(({ id }) => id !== of.id)); };
  return html`<${Section} title="Recordings to write down"><div class="stack">
      <div class="row top"><${TaskModel} task=${TASK} value=${wish.model} onChange=${(/** @type {string} */ model) => change({ model })} />
        <${Field} label="Language" says="Two letters, as en; empty: the model finds out."><input maxlength="3" pattern="[a-z]{2,3}" value=${wish.language} onInput=${(/** @type {any} */ e) => change({ language: e.currentTarget.value })} /></${Field}>
        <${Choice} label="Times of" value=${wish.timestamps} options=${[["segment", "segments"], ["word", "words"]]} onChange=${(/** @type {string} */ timestamps) => change({ timestamps })} /></div>
      <${Drop} label="Drop recordings here, or choose them" kind="audio" says="WAV, FLAC, MP3, Ogg or WebM. They go to the server that this page came from." take=${take} />
      <div class="row"><${RecordButton} label="Record from the microphone" onRecorded=${spoken} onError=${fail} /></div></div>
      <${Failure} error=${error} /></${Section}>
    ${recordings.map((one) => html`<${Transcript} key=${one.id} recording=${one} wish=${wish} changed=${(/** @type {Partial<Recording>} */ fields) => changed(one, fields)} remove=${() => remove(one)} />`)}`;
}

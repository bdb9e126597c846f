// The microphone: what it hears becomes a file that the server can read.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";

const KINDS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus"];
const BITS_PER_S = 64_000; // speech needs no more

/** @typedef {{stop: () => Promise<Blob>, drop: () => void}} Recording `stop` ends it and gives what was heard */

/** Why nothing can be recorded here, in words; empty where it can. */
export function cannotRecord() {
  if (!navigator.mediaDevices) return "The microphone works only over https, or on the machine of the server itself.";
  if (!kind()) return "This browser records nothing that the server can read (WebM or Ogg with Opus).";
  return "";
}

function kind() {
  return KINDS.find((one) => globalThis.MediaRecorder?.isTypeSupported(one));
}

/** Ask for the microphone, and record from now on.
 * @returns {Promise<Recording>}
 * @throws {Error} in words: there is none, or it may not be used */
export async function record() {
  if (cannotRecord()) throw new Error(cannotRecord());
  const source = await navigator.mediaDevices.getUserMedia({ audio: true }).catch((error) => { throw new Error(refused(error)); });
  const recorder = new MediaRecorder(source, { mimeType: kind(), audioBitsPerSecond: BITS_PER_S });
  /** @type {Blob[]} */ const parts = [];
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.start();
  const drop = () => {
    if (recorder.state !== "inactive") recorder.stop();
    source.getTracks().forEach((track) => track.stop());
  };
  const stop = async () => {
    drop();
    await ended;
    const heard = new Blob(parts, { type: (kind() ?? "").split(";")[0] });
    if (!heard.size) throw new Error("Nothing was recorded. Is the microphone on?");
    return heard;
  };
  return { stop, drop };
}

/** @param {any} error */
function refused(error) {
  if (error.name === "NotAllowedError") return "The microphone may not be used here. Allow it in the settings of the browser, then try again.";
  if (error.name === "NotFoundError") return "No microphone was found. Connect one, then try again.";
  return `The microphone does not work: ${error.message}`;
}

/** Starts a recording, shows how long it is, and ends it.
 * @param {{label?: string, disabled?: boolean, onRecorded: (heard: Blob) => void, onError: (error: unknown) => void}} props */
export function RecordButton({ label = "Speak", disabled = false, onRecorded, onError }) {
  const [seconds, count] = useState(/** @type {number | null} */ (null));
  const [waiting, wait] = useState(false);
  const now = useRef(/** @type {Recording | null} */ (null));
  const gone = useRef(false);
  useEffect(() => () => { gone.current = true; now.current?.drop(); }, []);
  useEffect(() => {
    if (seconds === null) return undefined;
    const timer = setTimeout(() => count(seconds + 1), 1000);
    return () => clearTimeout(timer);
  }, [seconds]);
  const press = async () => {
    if (waiting) return; // it is not disabled meanwhile: that would take the focus away
    const running = now.current;
    try {
      if (running) {
        now.current = null;
        count(null);
        onRecorded(await running.stop());
        return;
      }
      wait(true);
      const begun = await record();
      if (gone.current) begun.drop();
      else { now.current = begun; count(0); }
    } catch (error) {
      onError(error);
    } finally {
      wait(false);
    }
  };
  const shown = seconds === null ? (waiting ? "Waiting for the microphone …" : label) : `Stop recording (${seconds} s)`;
  return html`<button type="button" class=${seconds === null ? "" : "risky"} disabled=${disabled && seconds === null} aria-disabled=${waiting} onClick=${press}>${shown}</button>`;
}

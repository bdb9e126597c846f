// What another policy would have cost and taken on the logged traffic, with intervals, and why not to believe some of it.
import { html, useEffect, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Section } from "/ui/parts/controls.js";
import { latency } from "/ui/parts/format.js";
import { Failure } from "/ui/parts/states.js";
import { bodyOf, Form, kept } from "/ui/pages/replay/form.js";
import { Verdicts } from "/ui/pages/replay/verdicts.js";

/** @typedef {{running: boolean, error: unknown, note: string, answer: any, asked: any}} State */

export default function Replay() {
  const [chosen, choose] = useState(kept());
  const [state, set] = useState(/** @type {State} */ ({ running: false, error: null, note: "", answer: null, asked: null }));
  const stop = useRef(/** @type {AbortController | null} */ (null));
  useEffect(() => () => stop.current?.abort(), []);
  const run = async () => {
    const controller = new AbortController();
    stop.current = controller;
    const body = bodyOf(chosen);
    set({ ...state, running: true, error: null, note: "" });
    try {
      const answer = await ask("POST", "/v1/replay", body, { signal: controller.signal });
      set({ running: false, error: null, note: "The replay is done.", answer, asked: body });
    } catch (error) {
      const left = controller.signal.aborted;
      set((was) => ({ ...was, running: false, error: left ? null : error, note: left ? "Cancelled; the server stops as well." : "" }));
    }
  };
  return html`<${Form} chosen=${chosen} onChange=${choose} onRun=${run} running=${state.running} />
    ${state.running && html`<${Running} onCancel=${() => stop.current?.abort()} />`}
    <${Failure} error=${state.error} again=${run} />
    <p role="status" class="quiet">${state.note}</p>
    ${state.answer && html`<${Verdicts} answer=${state.answer} asked=${state.asked} />`}`;
}

/** How far it is nobody tells; for how long it runs is known. @param {{onCancel: () => void}} props */
function Running({ onCancel }) {
  const [ms, count] = useState(0);
  useEffect(() => {
    const began = performance.now();
    const timer = setInterval(() => count(performance.now() - began), 500);
    return () => clearInterval(timer);
  }, []);
  return html`<${Section} title="Running" actions=${html`<button type="button" onClick=${onCancel}>Cancel</button>`}>
    <p role="status">The log is being read and the policy asked again at each of its decisions.</p>
    <progress aria-label="Replay"></progress> <span role="timer">${latency(ms)}</span></${Section}>`;
}

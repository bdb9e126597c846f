// Intents: sets of labels by example, what was measured of them, and a text to try.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { ask } from "/ui/api.js";
import { Section, Table } from "/ui/parts/controls.js";
import { percent } from "/ui/parts/format.js";
import { useStored } from "/ui/parts/kept.js";
import { useRunning } from "/ui/parts/running.js";
import { Failure, Shown, useAsked } from "/ui/parts/states.js";
import { Definition, FIRST, drafted } from "/ui/pages/playground/definition.js";
import { Trial } from "/ui/pages/playground/trial.js";

export default function Intents() {
  const sets = useAsked("/v1/intents");
  const [draft, change] = useStored("nearfar.playground.intents", FIRST);
  const [chosen, choose] = useState({ model: "nearfar/minilm-intent", turn: 0 }); // another turn: other models may be there
  const [news, tell] = useState("");
  const changed = (/** @type {string} */ model, /** @type {string} */ told) => { sets.again(); choose((was) => ({ model, turn: was.turn + 1 })); tell(told); };
  const fitted = (/** @type {any} */ set) => changed(set.model, `${set.name} is fitted: ${accuracy(set)}.`);
  const removed = (/** @type {any} */ set) => changed(chosen.model === set.model ? "nearfar/minilm-intent" : chosen.model, `${set.name} is deleted.`);
  return html`<p class="quiet" role="status">${news}</p>
    <${Section} title="Sets of intents"><${Shown} of=${sets}>${(/** @type {any} */ { data }) => html`<${Table} caption="Measured on texts that were held out of the fit"
      columns=${["set", "labels", "examples", "accuracy", "strangers found", ""]} empty="None yet: define one beneath, or try the one that comes with Nearfar."
      rows=${data.map((/** @type {any} */ set) => row(set, change, removed, choose))} />`}</${Shown}></${Section}>
    <${Trial} model=${chosen.model} turn=${chosen.turn} choose=${(/** @type {string} */ model) => choose((was) => ({ ...was, model }))} />
    <${Definition} draft=${draft} change=${change} fitted=${fitted} />`;
}

/** @param {any} set  @param {(draft: any) => void} edit  @param {(set: any) => void} removed  @param {(next: any) => void} choose */
function row(set, edit, removed, choose) {
  const figures = set.fitted ? [set.labels.join(", "), set.examples, accuracy(set), percent(set.unknown_recall)] : ["", "", set.unavailable ?? "not fitted yet", ""];
  const attempt = () => choose((/** @type {any} */ was) => ({ ...was, model: set.model }));
  return [set.name, ...figures, html`<${Actions} key=${set.name} set=${set} edit=${edit} removed=${removed} attempt=${attempt} />`];
}

/** @param {{set: any, edit: (draft: any) => void, removed: (set: any) => void, attempt: () => void}} props */
function Actions({ set, edit, removed, attempt }) {
  const [sure, beSure] = useState(false);
  const running = useRunning();
  const path = `/v1/intents/${encodeURIComponent(set.name)}`;
  const load = () => running.run(async (signal) => edit(drafted(await ask("GET", path, undefined, { signal }))));
  const remove = () => running.run(async (signal) => { await ask("DELETE", path, undefined, { signal }); removed(set); });
  return html`<div class="row"><button type="button" onClick=${attempt}>Try<span class="unseen"> ${set.name}</span></button>
    <button type="button" disabled=${running.busy} onClick=${load}>Edit<span class="unseen"> ${set.name}</span></button>
    <button type="button" class="risky" disabled=${running.busy} onBlur=${() => beSure(false)} onClick=${() => (sure ? remove() : beSure(true))}>
      ${sure ? "Really delete" : "Delete"}<span class="unseen"> ${set.name}</span></button><${Failure} error=${running.error} /></div>`;
}

/** @param {any} set a fitted one */
function accuracy({ accuracy: share, accuracy_interval: [low, high], folds }) {
  return `${percent(share)} right (95 % interval ${percent(low)} to ${percent(high)}), cross-validated in ${folds} folds`;
}

// One model: adding it, changing it and its prices, and taking back what was changed.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Candidates } from "/ui/pages/models/candidates.js";
import { Fields, tidy } from "/ui/pages/models/fields.js";
import { inPath, Saved, useSaving } from "/ui/pages/models/saving.js";
import { Confirmed } from "/ui/parts/confirm.js";
import { Section } from "/ui/parts/controls.js";

const TASKS = ["text-generation", "feature-extraction", "text-classification", "zero-shot-classification", "text-to-image", "image-classification", "automatic-speech-recognition"];
/** @type {import("/ui/pages/models/fields.js").Spec[]} */
const SPECS = [
  { name: "task", label: "Task", kind: "choice", options: TASKS.map((task) => [task, task]) },
  { name: "description", label: "Description" },
  { name: "context_length", label: "Context length, in tokens", kind: "number", min: 1 },
  { name: "parameters", label: "Parameters", kind: "number", min: 1 },
];
/** @type {import("/ui/pages/models/fields.js").Spec} */
const ID = { name: "id", label: "Id", required: true, says: "As requests name it, such as team/writer." };
/** @type {import("/ui/pages/models/fields.js").Spec} */
const QUALITY = { name: "quality", label: "Quality", kind: "number", min: 0, max: 1, says: "From 0 to 1, as somebody holds it; answers are judged beside it." };
const CHANGING = ["task", "description", "context_length", "parameters", "quality", "candidates"];
const EMPTY = { id: "", task: TASKS[0], candidates: [{ backend: "remote", provider: null }] };

/** @param {{model: any, catalog: any, again: () => void}} props `model` is null for one to add */
export function Editor({ model, catalog, again }) {
  const saving = useSaving(catalog, again);
  const [was, remember] = useState(model?.entry ?? EMPTY);
  const [draft, write] = useState(was);
  const byIntent = typeof draft.quality === "object" && draft.quality !== null;
  const specs = [...(model ? [] : [ID]), ...SPECS, ...(byIntent ? [] : [QUALITY])];
  const submit = async (/** @type {Event} */ e) => {
    e.preventDefault();
    const done = model ? await saving.save("PATCH", `/v1/models/${inPath(model.id)}`, patch(was, draft), `${model.id} is changed.`)
      : await saving.save("POST", "/v1/models", tidy(draft), `${draft.id} is added.`);
    if (done && model) remember(draft);
    if (done && !model) location.hash = `#/models/edit/${encodeURIComponent(draft.id)}`;
  };
  const theirs = (/** @type {any} */ now) => {
    const entry = now.models.find((/** @type {any} */ one) => one.id === model?.id)?.entry;
    if (entry) { remember(entry); write(entry); }
  };
  return html`<${Section} title=${model ? model.id : "A new model"} actions=${html`<a href="#/models">All models</a>`}>
    ${model && html`<${Whose} model=${model} saving=${saving} />`}
    <form class="stack" onSubmit=${submit}>
      <${Fields} specs=${specs} value=${draft} error=${saving.act.error} onChange=${write} />
      ${byIntent && html`<p class="quiet">Its quality is said by intent (${Object.entries(draft.quality).map(([name, share]) => `${name}: ${share}`).join(", ")}): that is changed in the configuration.</p>`}
      <h3>Where it runs</h3>
      <${Candidates} candidates=${draft.candidates} error=${saving.act.error} onChange=${(/** @type {any[]} */ candidates) => write({ ...draft, candidates })} />
      <${Saved} of=${saving} onTheirs=${theirs} />
      <button class="main" disabled=${saving.act.busy}>${model ? "Save the changes" : "Add the model"}</button></form></${Section}>`;
}

/** What changed, and nothing else: null puts a field back to its default.
 * @param {any} was  @param {any} draft */
function patch(was, draft) {
  const changed = CHANGING.filter((name) => JSON.stringify(tidy(was[name])) !== JSON.stringify(tidy(draft[name])));
  return Object.fromEntries(changed.map((name) => [name, name === "candidates" ? tidy(draft[name]) : draft[name] ?? (name === "description" ? "" : null)]));
}

/** @param {{model: any, saving: ReturnType<typeof useSaving>}} props */
function Whose({ model, saving }) {
  const path = `/v1/models/${inPath(model.id)}`;
  const ours = model.origin === "run-time" || model.enabled_at_run_time !== null;
  const added = model.origin === "run-time" && model.covers === null;
  const remove = async () => {
    const done = await saving.save("DELETE", path, undefined, added ? `${model.id} is removed.` : `${model.id} is as the ${model.covers ?? model.origin} one again.`);
    if (done) location.hash = "#/models";
  };
  const turn = () => saving.save("PATCH", path, { enabled: !model.enabled }, `${model.id} is ${model.enabled ? "disabled: nobody may be asked for it" : "enabled"}.`);
  return html`<p class="quiet">Written by: ${model.origin}${model.covers && `, in place of the ${model.covers} one`}${model.outdated && ", which says otherwise by now"}; ${model.enabled ? "enabled" : "disabled"}.</p>
    <div class="row"><button type="button" disabled=${saving.act.busy} onClick=${turn}>${model.enabled ? "Disable" : "Enable"}</button>
      ${ours ? html`<${Confirmed} label=${added ? "Remove" : "Take back what was changed"} busy=${saving.act.busy} yes=${added ? "Remove it" : "Take it back"} onYes=${remove}
        question=${added ? `Remove ${model.id} from the catalogue? Requests that name it are refused from then on. Weights stay on the disk.` : `Have ${model.id} again as it is ${(model.covers ?? model.origin) === "file" ? "in the file" : "built in"}?`} />`
        : html`<span class="quiet">It is ${model.origin === "file" ? "the configuration file's" : "built in"}: it can be disabled, not removed.</span>`}</div>`;
}

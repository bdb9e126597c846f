// What to draw, and how.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Field, NumberField, Section } from "/ui/parts/controls.js";
import { TaskModel } from "/ui/parts/task_model.js";

const OWN = "default";
const MAX_SEED = 2 ** 53 - 1; // beyond it, numbers of a page are not exact
const MOST = 10; // pictures that the API draws at once

/** @param {{wish: import("/ui/pages/images/drawing.js").Wish, change: (fields: Partial<import("/ui/pages/images/drawing.js").Wish>) => void, draw: () => void, prompt: any}} props */
export function WishForm({ wish, change, draw, prompt }) {
  const send = (/** @type {Event} */ e) => { e.preventDefault(); draw(); };
  const quick = (/** @type {KeyboardEvent} */ e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) /** @type {any} */ (e.currentTarget).form.requestSubmit();
  };
  const number = (/** @type {keyof import("/ui/pages/images/drawing.js").Wish} */ name) => ({ value: wish[name], onChange: (/** @type {number | null} */ value) => change({ [name]: value }) });
  return html`<${Section} title="What to draw"><form class="stack" onSubmit=${send}>
    <${Field} label="Prompt" says="Ctrl + Enter draws."><textarea rows="3" required maxlength="10000" ref=${prompt} value=${wish.prompt} onKeyDown=${quick}
      onInput=${(/** @type {any} */ e) => change({ prompt: e.currentTarget.value })}></textarea></${Field}>
    <${Field} label="Negative prompt" says="What should not be seen."><input value=${wish.negative} onInput=${(/** @type {any} */ e) => change({ negative: e.currentTarget.value })} /></${Field}>
    <${TaskModel} task="text-to-image" value=${wish.model} onChange=${(/** @type {string} */ model) => change({ model })} />
    <div class="row">
      <${NumberField} label="Steps" min=${1} max=${1000} placeholder=${OWN} ...${number("steps")} />
      <${NumberField} label="Guidance" min=${0} max=${100} step="any" placeholder=${OWN} ...${number("guidance")} />
      <${NumberField} label="Width" min=${1} max=${8192} placeholder=${OWN} ...${number("width")} />
      <${NumberField} label="Height" min=${1} max=${8192} placeholder=${OWN} ...${number("height")} />
      <${NumberField} label="Seed" min=${0} max=${MAX_SEED + 1 - (wish.n ?? 1)} placeholder="random" ...${number("seed")} />
      <${NumberField} label="Pictures" min=${1} max=${MOST} placeholder="1" ...${number("n")} />
    </div>
    <div class="row"><button class="main">Draw</button></div></form></${Section}>`;
}

// Pictures from words: a wish, its steps as they are drawn, and what this visit has drawn so far.
import { html, useRef } from "/ui/vendor/htm/standalone.module.js";
import { Section } from "/ui/parts/controls.js";
import { latency } from "/ui/parts/format.js";
import { useStored } from "/ui/parts/kept.js";
import { AUTO } from "/ui/parts/task_model.js";
import { draw, usePictures } from "/ui/pages/images/drawing.js";
import { WishForm } from "/ui/pages/images/form.js";
import { Drawn } from "/ui/pages/images/gallery.js";

/** @type {import("/ui/pages/images/drawing.js").Wish} */
const FIRST = { prompt: "", negative: "", model: AUTO, steps: null, guidance: null, width: null, height: null, seed: null };

export default function Images() {
  const [wish, change] = useStored("nearfar.images", FIRST);
  const prompt = useRef(/** @type {any} */ (null));
  const pictures = usePictures();
  const reuse = (/** @type {typeof wish} */ again) => { change(again); prompt.current?.focus(); };
  return html`<${WishForm} wish=${wish} change=${change} draw=${() => draw(wish)} prompt=${prompt} />
    <p class="quiet" role="status">${told(pictures)}</p>
    <${Section} title="This visit's pictures">
      ${pictures.length ? html`<ul class="drawings">${pictures.map((picture) => html`<${Drawn} key=${picture.id} picture=${picture} reuse=${reuse} />`)}</ul>`
        : html`<p class="empty">None yet. They are kept here until the tab is closed or reloaded: download those you want to keep.</p>`}
    </${Section}>`;
}

/** The latest news in one line; the steps are not news, whoever listens would hear nothing else.
 * @param {import("/ui/pages/images/drawing.js").Picture[]} pictures */
function told(pictures) {
  const busy = pictures.filter(({ state }) => state === "drawing").length;
  if (busy) return busy === 1 ? "Drawing …" : `Drawing ${busy} pictures …`;
  const [last] = pictures;
  if (!last) return "";
  if (last.state === "done") return `Drawn in ${latency(last.answer.latency_ms)}.`;
  return last.state === "cancelled" ? "Cancelled." : "It could not be drawn.";
}

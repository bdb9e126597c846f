// Pictures from words: a wish, its steps as they are drawn, and what this visit has drawn so far.
import { html, useRef } from "/ui/vendor/htm/standalone.module.js";
import { Section } from "/ui/parts/controls.js";
import { latency } from "/ui/parts/format.js";
import { useStored } from "/ui/parts/kept.js";
import { AUTO } from "/ui/parts/task_model.js";
import { draw, useDrawings } from "/ui/pages/images/drawing.js";
import { WishForm } from "/ui/pages/images/form.js";
import { Drawn } from "/ui/pages/images/gallery.js";

/** @type {import("/ui/pages/images/drawing.js").Wish} */
const FIRST = { prompt: "", negative: "", model: AUTO, steps: null, guidance: null, width: null, height: null, seed: null, n: null };

export default function Images() {
  const [wish, change] = useStored("nearfar.images", FIRST);
  const prompt = useRef(/** @type {any} */ (null));
  const drawings = useDrawings();
  const reuse = (/** @type {typeof wish} */ again) => { change(again); prompt.current?.focus(); };
  return html`<${WishForm} wish=${wish} change=${change} draw=${() => draw(wish)} prompt=${prompt} />
    <p class="quiet" role="status">${told(drawings)}</p>
    <${Section} title="This visit's pictures">
      ${drawings.length ? html`<ul class="drawings">${drawings.map((drawing) => html`<${Drawn} key=${drawing.id} drawing=${drawing} reuse=${reuse} />`)}</ul>`
        : html`<p class="empty">None yet. They are kept here until the tab is closed or reloaded: download those you want to keep.</p>`}
    </${Section}>`;
}

/** The latest news in one line; the steps are not news, whoever listens would hear nothing else.
 * @param {import("/ui/pages/images/drawing.js").Drawing[]} drawings */
function told(drawings) {
  const busy = drawings.filter(({ state }) => state === "drawing").reduce((sum, { wish }) => sum + (wish.n ?? 1), 0);
  if (busy) return busy === 1 ? "Drawing …" : `Drawing ${busy} pictures …`;
  const [last] = drawings;
  if (!last) return "";
  const many = last.images.length > 1 ? `${last.images.length} pictures. ` : "";
  if (last.state === "done") return `${many}Drawn in ${latency(last.answer.latency_ms)}.`;
  return last.state === "cancelled" ? "Cancelled." : "It could not be drawn.";
}

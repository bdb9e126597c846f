// What models wrote, as text: code between fences apart, everything else as it stands. Nothing of it becomes markup.
import { html, useMemo } from "/ui/vendor/htm/standalone.module.js";

const FENCE = /^ {0,3}```/;

/** @typedef {{code: boolean, text: string}} Part */

/** @param {string} text  @returns {Part[]} a fence that is still open holds all that follows */
export function partsOf(text) {
  /** @type {{code: boolean, lines: string[]}[]} */
  const parts = [{ code: false, lines: [] }];
  for (const line of text.split("\n")) {
    const last = parts[parts.length - 1];
    if (FENCE.test(line)) parts.push({ code: !last.code, lines: [] });
    else last.lines.push(line);
  }
  return parts.map(({ code, lines }) => ({ code, text: lines.join("\n") })).filter((part) => part.text.trim());
}

/** @param {{text: string}} props */
export function Said({ text }) {
  const parts = useMemo(() => partsOf(text), [text]);
  return parts.map((part) => (part.code
    ? html`<pre tabindex="0"><code>${part.text}</code></pre>`
    : html`<div class="said">${part.text}</div>`));
}

/** The sentences and lines of a text that are complete, and at its end the rest of it.
 * @param {string} text  @param {boolean} whole  @returns {string[]} */
export function sentences(text, whole) {
  const all = text.split(/(?<=[.!?]\s)|(?<=\n)/);
  return (whole ? all : all.slice(0, -1)).map((one) => one.trim()).filter(Boolean);
}

// Tabs as ARIA wants them: one stop of the Tab key, arrows between them, each with its panel.
import { html, useRef, useState } from "/ui/vendor/htm/standalone.module.js";

/** @typedef {{name: string, title: string, of: unknown}} Tab `of` is the panel's component */

/** @param {{label: string, tabs: Tab[], at: string, onChange: (name: string) => void}} props */
export function Tabs({ label, tabs, at, onChange }) {
  const list = useRef(/** @type {any} */ (null));
  const [opened, open] = useState(() => new Set([at])); // a panel keeps what was written in it while another is looked at
  if (!opened.has(at)) open(new Set([...opened, at]));
  const go = (/** @type {string} */ name) => { onChange(name); list.current.querySelector(`#tab-${name}`)?.focus(); };
  const pressed = (/** @type {KeyboardEvent} */ e) => {
    const now = tabs.findIndex((tab) => tab.name === at);
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[e.key];
    if (next === undefined) return;
    e.preventDefault();
    go(tabs[(next + tabs.length) % tabs.length].name);
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${pressed}>
      ${tabs.map(({ name, title }) => html`<button type="button" role="tab" id=${`tab-${name}`} aria-selected=${String(name === at)} aria-controls=${`panel-${name}`}
        tabindex=${name === at ? 0 : -1} onClick=${() => go(name)}>${title}</button>`)}</div>
    ${tabs.map(({ name, of }) => html`<div key=${name} role="tabpanel" id=${`panel-${name}`} aria-labelledby=${`tab-${name}`} hidden=${name !== at}>
      ${opened.has(name) && html`<${of} />`}</div>`)}`;
}

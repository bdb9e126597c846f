// The frame around every page: where one is, the way to the others, the connection, and the key if one is needed.
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "/ui/vendor/htm/standalone.module.js";
import { askAgain, credentials, hear } from "/ui/api.js";
import { PAGES } from "/ui/pages.js";
import { Busy, Failure } from "/ui/parts/states.js";
import { nextTheme, setTheme, theme } from "/ui/theme.js";

const AGAIN_MS = 2000;

/** The page's name and what follows it, from `#/name/rest`. */
function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return { name: PAGES.some((page) => page.name === name) ? name : PAGES[0].name, rest: rest.map(decodeURIComponent) };
}

function App() {
  const [at, go] = useState(place);
  const main = useRef(/** @type {any} */ (null));
  useEffect(() => {
    const moved = () => { go(place()); main.current?.focus(); scrollTo(0, 0); };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const page = PAGES.find((one) => one.name === at.name) ?? PAGES[0];
  useEffect(() => { document.title = `${page.title} · Nearfar`; }, [page]);
  return html`<a class="skip" href="#main" onClick=${(/** @type {Event} */ e) => { e.preventDefault(); main.current?.focus(); }}>Skip to the page</a>
    <${Head} at=${at.name} />
    <main id="main" class=${`page-${at.name}`} tabindex="-1" ref=${main}><h1>${page.title}</h1><${Connection} /><${KeyAsked} /><${Page} key=${at.name} name=${at.name} rest=${at.rest} /></main>`;
}

/** @param {{at: string}} props */
function Head({ at }) {
  const [shade, shaded] = useState(theme());
  const turn = () => { setTheme(nextTheme(shade)); shaded(theme()); };
  const groups = [...new Set(PAGES.map((page) => page.group))];
  const here = useRef(/** @type {any} */ (null));
  useEffect(() => here.current?.scrollIntoView({ block: "nearest", inline: "center" }), [at]); // on a phone the row of pages is wider than it
  return html`<header class="head"><a class="brand" href="#/"><img src="/ui/icon.svg" alt="" width="24" height="24" />Nearfar</a>
    <nav aria-label="Pages">${groups.map((group) => html`<div class="group"><span aria-hidden="true">${group}</span>
      ${PAGES.filter((page) => page.group === group).map((page) => html`<a href=${`#/${page.name}`} aria-current=${page.name === at ? "page" : null} ref=${page.name === at ? here : null}>${page.title}</a>`)}</div>`)}</nav>
    <div class="tools"><button type="button" onClick=${turn}>Theme: ${shade}</button><a href="/schema">API</a></div></header>`;
}

/** @param {{name: string, rest: string[]}} props */
function Page({ name, rest }) {
  const [loaded, load] = useState(/** @type {{of: any, error: unknown}} */ ({ of: null, error: null }));
  const [bug] = useErrorBoundary();
  useEffect(() => {
    let gone = false;
    import(`/ui/pages/${name}.js`).then((module) => { if (!gone) load({ of: module.default, error: null }); }, (error) => load({ of: null, error }));
    return () => { gone = true; };
  }, [name]);
  if (bug) return html`<${Failure} error=${`This page failed: ${bug.message}`} again=${() => location.reload()} />`;
  if (loaded.error) return html`<${Failure} error="The page could not be loaded." again=${() => location.reload()} />`;
  return loaded.of ? html`<${loaded.of} rest=${rest} />` : html`<${Busy} />`;
}

/** Says that the server is not reached, and finds it again. */
function Connection() {
  const [lost, lose] = useState(false);
  useEffect(() => hear("lost", () => lose(true)), []);
  useEffect(() => hear("found", () => lose(false)), []);
  useEffect(() => {
    if (!lost) return undefined;
    const timer = setInterval(() => { fetch("/health/live", { cache: "no-store" }).then((r) => { if (r.ok) { lose(false); askAgain(); } }, () => undefined); }, AGAIN_MS);
    return () => clearInterval(timer);
  }, [lost]);
  return lost && html`<p class="banner" role="alert">The connection to the server is lost. It is tried again every ${AGAIN_MS / 1000} seconds.</p>`;
}

/** Asks for a key where the server wants one. */
function KeyAsked() {
  const [asked, askFor] = useState(false);
  const [text, type] = useState("");
  useEffect(() => hear("refused", () => askFor(true)), []);
  if (!asked) return null;
  const give = (/** @type {Event} */ e) => { e.preventDefault(); askFor(false); credentials.key = text.trim(); type(""); };
  return html`<form class="banner" onSubmit=${give}><label>This server asks for a key or token.
    <input type="password" autocomplete="off" required value=${text} onInput=${(/** @type {any} */ e) => type(e.currentTarget.value)} /></label>
    <button>Use it in this tab</button></form>`;
}

setTheme(theme());
render(html`<${App} />`, /** @type {Element} */ (document.getElementById("app")));

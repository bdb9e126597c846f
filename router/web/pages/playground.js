// The tasks that are neither chat nor pictures, each to be tried by itself.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { Tabs } from "/ui/parts/tabs.js";
import Browser from "/ui/pages/playground/browser.js";
import Embeddings from "/ui/pages/playground/embeddings.js";
import Intents from "/ui/pages/playground/intents.js";
import Photos from "/ui/pages/playground/photos.js";
import Speech from "/ui/pages/playground/speech.js";

const TABS = [
  { name: "embeddings", title: "Embeddings", of: Embeddings },
  { name: "intents", title: "Intents", of: Intents },
  { name: "photos", title: "Image classification", of: Photos },
  { name: "speech", title: "Transcription", of: Speech },
  { name: "browser", title: "In this browser", of: Browser },
];

/** @param {{rest: string[]}} props */
export default function Playground({ rest }) {
  const named = TABS.find(({ name }) => name === rest[0])?.name;
  const [at, go] = useState(named ?? TABS[0].name);
  useEffect(() => { if (named) go(named); }, [named]);
  const turn = (/** @type {string} */ name) => {
    go(name);
    history.replaceState(null, "", `#/playground/${name}`); // no `hashchange`: that would take the focus from the tabs
  };
  return html`<${Tabs} label="Tasks" tabs=${TABS} at=${at} onChange=${turn} />`;
}

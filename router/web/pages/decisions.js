// The log as it grows, and one decision explained: `#/decisions/ID`.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Feed } from "/ui/pages/decisions/feed.js";
import { Decision } from "/ui/pages/decisions/one.js";

/** @param {{rest: string[]}} props */
export default function Decisions({ rest }) {
  return rest[0] ? html`<${Decision} key=${rest[0]} id=${rest[0]} />` : html`<${Feed} />`;
}

// Which models do a task, and the choice among them.
import { html, useEffect } from "/ui/vendor/htm/standalone.module.js";
import { Choice } from "/ui/parts/controls.js";
import { side } from "/ui/parts/format.js";
import { Failure, useAsked } from "/ui/parts/states.js";

export const AUTO = "auto";

/** @param {{task: string, value: string, onChange: (value: string) => void, label?: string, auto?: boolean, turn?: unknown}} props
 * another `turn` asks for the models anew; `auto` leaves the choice to the router */
export function TaskModel({ task, value, onChange, label = "Model", auto = true, turn = 0 }) {
  const asked = useAsked("/v1/models");
  useEffect(() => { if (turn) asked.again(); }, [turn]);
  const models = (asked.data?.data ?? []).filter((/** @type {any} */ one) => one.nearfar.task === task);
  /** @type {[string, string][]} */
  const options = models.map((/** @type {any} */ one) => [one.id, one.id + unserved(one)]);
  if (auto) options.unshift([AUTO, "auto: the router chooses"]);
  if (!options.some(([id]) => id === value)) options.push([value, value ? `${value} (not listed)` : "none"]);
  const chosen = models.find((/** @type {any} */ one) => one.id === value);
  return html`<${Choice} label=${label} value=${value} onChange=${onChange} options=${options} says=${chosen && about(chosen)} />
    <${Failure} error=${asked.error} again=${asked.again} />`;
}

/** @param {any} model */
function unserved({ nearfar: { candidates } }) {
  return candidates.length && !candidates.some((/** @type {any} */ c) => c.available) ? " (nobody can serve it now)" : "";
}

/** What it is, and of those who may serve it, where they are or why they cannot. @param {any} model */
function about({ nearfar: { description, candidates } }) {
  const places = candidates.map((/** @type {any} */ c) => side(c.backend) + (c.available ? (c.loaded ? ", loaded" : "") : `: ${c.why_not}`));
  return [description, ...places].filter(Boolean).join(" · ");
}

// Every model, where it can run, and what of it is in memory.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { Jobs, runs, start, useJobs } from "/ui/pages/models/jobs.js";
import { priced } from "/ui/pages/models/prices.js";
import { Choice, Field, Section, Table } from "/ui/parts/controls.js";
import { bytes, side } from "/ui/parts/format.js";
import { Shown } from "/ui/parts/states.js";

/** @param {{listed: any, catalog: any, again: () => void}} props */
export function List({ listed, catalog, again }) {
  const [sought, seek] = useState("");
  const [task, only] = useState("");
  const jobs = useJobs();
  const admin = catalog !== null;
  const whose = new Map((catalog?.models ?? []).map((/** @type {any} */ one) => [one.id, one]));
  const row = (/** @type {any} */ model) => {
    const said = whose.get(model.id);
    const near = model.nearfar.candidates.filter((/** @type {any} */ c) => c.backend === "local");
    const name = said ? html`<a href=${`#/models/edit/${encodeURIComponent(model.id)}`}>${model.id}</a>` : model.id;
    const acts = (said?.enabled ?? admin) && html`<${Acts} model=${model} near=${near} job=${jobs.get(model.id)} again=${again} />`;
    const origin = said ? `${said.origin}${said.enabled ? "" : ", disabled"}` : "found while running";
    return [html`${name}${model.nearfar.description && html`<br /><small>${model.nearfar.description}</small>`}`, model.nearfar.task, ...(admin ? [origin] : []), html`<${Places} candidates=${model.nearfar.candidates} />`, ...(admin ? [acts] : [])];
  };
  const columns = ["model", "task", ...(admin ? ["written by"] : []), "where it runs", ...(admin ? [html`<span class="unseen">actions</span>`] : [])];
  return html`<${Section} title="Models" actions=${admin && html`<a class="button" href="#/models/add">Add a model</a>`}>
    <${Jobs} /><${Shown} of=${listed}>${(/** @type {any} */ { data }) => {
      const models = data.filter((/** @type {any} */ one) => !one.nearfar.models);
      const tasks = [...new Set(models.map((/** @type {any} */ one) => one.nearfar.task))].sort();
      const shown = models.filter((/** @type {any} */ one) => (!task || one.nearfar.task === task) && one.id.toLowerCase().includes(sought.toLowerCase()));
      return html`<div class="row"><${Field} label="Find"><input type="search" value=${sought} onInput=${(/** @type {any} */ e) => seek(e.currentTarget.value)} /></${Field}>
        <${Choice} label="Task" value=${task} options=${[["", "all"], ...tasks.map((one) => [one, one])]} onChange=${only} /></div>
        <${Table} caption=${`${shown.length} of ${models.length} models`} columns=${columns} rows=${shown.map(row)} empty="No model is called so." />`;
    }}</${Shown}></${Section}>`;
}

/** @param {{candidates: any[]}} props */
function Places({ candidates }) {
  return html`<ul class="places">${candidates.map((one) => html`<li><b class=${`side ${side(one.backend)}`}>${side(one.backend)}</b> ${one.backend !== "local" && html`<b>${one.provider}</b> `}<${Standing} of=${one} /></li>`)}</ul>`;
}

/** @param {{of: any}} props */
function Standing({ of }) {
  if (!of.available) return html`<span class="quiet">cannot run: ${of.why_not}</span>`;
  if (of.backend !== "local") return html`<span>${priced(of.price)}</span>`;
  const memory = of.memory_bytes ? `, ${bytes(of.memory_bytes)}` : "";
  return html`<span class=${`state ${of.loaded ? "loaded" : ""}`}>${of.loaded ? "loaded" : "cold"}</span> on ${of.device}${memory}`;
}

/** @param {{model: any, near: any[], job: any, again: () => void}} props */
function Acts({ model, near, job, again }) {
  if (job && runs(job)) return html`<span class="quiet">at work</span>`;
  const ready = near.filter((one) => one.available);
  const act = (/** @type {import("/ui/pages/models/jobs.js").Kind} */ kind, /** @type {string} */ label) => html`<button type="button" aria-label=${`${label} ${model.id}`} onClick=${() => start(model.id, kind, again)}>${label}</button>`;
  if (ready.some((one) => one.loaded)) return act("unload", "Unload");
  if (ready.some((one) => !one.loaded)) return act("load", "Load");
  return near.some((one) => one.memory_bytes === null) && act("pull", "Fetch"); // whose size is known does not fit
}

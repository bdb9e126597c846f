// The machine, and the models in its memory.
import { html } from "/ui/vendor/htm/standalone.module.js";
import { Section, Table } from "/ui/parts/controls.js";
import { bytes, count, percent, UNKNOWN } from "/ui/parts/format.js";
import { Bar, Pairs } from "/ui/parts/pairs.js";

/** @param {{told: any}} props */
export function Machine({ told }) {
  const { hardware, now, energy } = told;
  const total = hardware.ram_total_bytes;
  const memory = now
    ? html`${bytes(total - now.ram_available_bytes)} of ${bytes(total)} taken, ${bytes(now.ram_available_bytes)} free<${Bar} label="Memory taken" value=${total - now.ram_available_bytes} most=${total} />`
    : html`${bytes(total)}, of which ${bytes(hardware.ram_available_bytes)} were free at the start`;
  const loaded = told.models_loaded.map((/** @type {any} */ one) => [one.candidate, one.device, bytes(one.memory_bytes), count(one.queued)]);
  return html`<${Section} title="Hardware">
    <${Pairs} of=${[["Machine", hardware.platform], ["Cores for us", count(hardware.cores)],
      ["Load, last minute", now ? now.load_1m?.toFixed(2) ?? UNKNOWN : "told to admins"], ["Memory", memory],
      ["This process", now ? bytes(now.process_bytes) : "told to admins"], ["Instructions", hardware.cpu_flags.join(", ") || "none that matter here"]]} />
    <h3>GPUs</h3>
    <${Table} caption="Free memory is as it was at the start" columns=${["device", "name", "memory", "free", "power limit"]} rows=${hardware.gpus.map(gpu)} empty=${hardware.gpu_note ?? "None."} />
    ${energy && html`<h3>Power</h3><${Table} caption="By device; busy is the share of the last day" columns=${["device", "watts while busy", "by", "busy"]} rows=${energy.map(power)} empty="No device is metered." />`}
    <h3>Models in memory</h3>
    <${Table} caption="What is loaded now" columns=${["candidate", "device", "memory", "requests"]} rows=${loaded} empty="None: a model is loaded by its first request, or on the Models page." /></${Section}>`;
}

/** @param {any} one */
function gpu(one) {
  const device = one.kind === "cuda" ? `cuda:${one.index}` : one.kind;
  return [device, one.name, bytes(one.vram_total_bytes), bytes(one.vram_free_bytes), one.power_limit_w === null ? UNKNOWN : `${one.power_limit_w} W`];
}

/** @param {any} one */
function power(one) {
  const by = one.meter ?? `${one.watts_source ?? UNKNOWN}${one.no_meter ? ` (no meter: ${one.no_meter})` : ""}`;
  return [one.device, one.watts === null ? UNKNOWN : `${one.watts.toFixed(1)} W`, by, percent(one.utilisation, 1)];
}

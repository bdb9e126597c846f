// Figures as people read them. What nobody knows is "unknown", never 0.

export const UNKNOWN = "unknown";

/** US dollars: as many digits as a small amount needs. @param {number | null | undefined} usd */
export function money(usd) {
  if (usd === null || usd === undefined) return UNKNOWN;
  if (usd === 0) return "$0";
  const digits = Math.abs(usd) >= 1 ? 2 : Math.min(10, 2 - Math.floor(Math.log10(Math.abs(usd))));
  return `${usd < 0 ? "−" : ""}$${Math.abs(usd).toFixed(digits)}`;
}

/** @param {number | null | undefined} ms milliseconds */
export function latency(ms) {
  if (ms === null || ms === undefined) return UNKNOWN;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 60_000).toFixed(1)} min`;
}

/** @param {number | null | undefined} share from 0 to 1 */
export function percent(share, digits = 0) {
  return share === null || share === undefined ? UNKNOWN : `${(share * 100).toFixed(digits)} %`;
}

/** @param {number | null | undefined} bytes */
export function bytes(bytes) {
  if (bytes === null || bytes === undefined) return UNKNOWN;
  const step = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${(bytes / 1024 ** step).toFixed(step ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
}

/** @param {number | null | undefined} n */
export function count(n) {
  return n === null || n === undefined ? UNKNOWN : n.toLocaleString("en");
}

/** An instant of the API (ISO 8601; without a zone it is UTC) in this reader's own time. @param {string | null | undefined} iso */
export function instant(iso) {
  if (!iso) return UNKNOWN;
  return dated(iso).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

/** @param {string} iso  @returns {Date} */
export function dated(iso) {
  return new Date(/[zZ]$|[+-]\d\d:?\d\d$/.test(iso) ? iso : `${iso.replace(" ", "T")}Z`);
}

/** Where something ran, in one word. @param {string | null | undefined} backend */
export function side(backend) {
  return { local: "near", remote: "far", browser: "browser", fake: "fake", cache: "cache" }[backend ?? ""] ?? backend ?? UNKNOWN;
}

/** A span of time in its two largest units. @param {number | null | undefined} seconds */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const parts = [[Math.floor(seconds / 86_400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]];
  const first = parts.findIndex(([n]) => n);
  return first < 0 ? "0 s" : parts.slice(first, first + 2).map(([n, unit]) => `${n} ${unit}`).join(" ");
}

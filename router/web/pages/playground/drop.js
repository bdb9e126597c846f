// Where files are dropped, or chosen: the same control for hand, keyboard and screen reader.
import { html, useEffect, useState } from "/ui/vendor/htm/standalone.module.js";
import { Failure } from "/ui/parts/states.js";

/** @param {{label: string, kind: "image" | "audio", says: string, take: (file: File) => void}} props */
export function Drop({ label, kind, says, take }) {
  const [over, cover] = useState(false);
  const [error, fail] = useState("");
  useEffect(holdPage, []);
  const taken = (/** @type {FileList | null | undefined} */ files) => {
    const given = [...(files ?? [])];
    const fit = given.filter((file) => file.type.startsWith(`${kind}/`) || (kind === "audio" && file.type.startsWith("video/")) || !file.type);
    const unfit = given.filter((file) => !fit.includes(file)).map(({ name }) => name);
    fail(given.length ? unfit.length ? `Not ${kind === "image" ? "an image" : "a recording"}: ${unfit.join(", ")}.` : "" : "There was no file in what was dropped; save it first, then drop or choose the file.");
    fit.forEach(take);
  };
  const dropped = (/** @type {DragEvent} */ e) => { e.preventDefault(); cover(false); taken(e.dataTransfer?.files); };
  const chosen = (/** @type {any} */ e) => { if (e.currentTarget.files.length) taken(e.currentTarget.files); e.currentTarget.value = ""; };
  return html`<div class=${`drop${over ? " over" : ""}`} onDragOver=${(/** @type {Event} */ e) => { e.preventDefault(); cover(true); }} onDragLeave=${() => cover(false)} onDrop=${dropped}>
      <label class="field"><span class="name">${label}</span><input type="file" accept=${kind === "audio" ? "audio/*,video/webm,.ogg" : "image/*"} multiple onChange=${chosen} /><small>${says}</small></label></div>
    <${Failure} error=${error} />`;
}

/** Let no file that falls beside its place open in the page's stead: that would lose what is written here. */
function holdPage() {
  const hold = (/** @type {DragEvent} */ e) => { if (e.dataTransfer?.types.includes("Files")) e.preventDefault(); };
  addEventListener("dragover", hold);
  addEventListener("drop", hold);
  return () => { removeEventListener("dragover", hold); removeEventListener("drop", hold); };
}

// Files in the page: from base64 and to it, and what an image is by its first bytes.

const KINDS = /** @type {const} */ ([["iVBOR", "image/png", "png"], ["/9j/", "image/jpeg", "jpg"], ["UklGR", "image/webp", "webp"], ["R0lGO", "image/gif", "gif"]]);

/** An image of the API as a file with an address of its own; `extension` is for its name.
 * @param {string} base64  @returns {{url: string, extension: string}} whoever is done with it revokes the address */
export function imageFile(base64) {
  const [, type, extension] = KINDS.find(([start]) => base64.startsWith(start)) ?? ["", "application/octet-stream", "bin"];
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return { url: URL.createObjectURL(new Blob([bytes], { type })), extension };
}

/** A file as a data URL, which the API takes. @param {Blob} file  @returns {Promise<string>} */
export function dataUrl(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result));
    reader.onerror = () => fail(new Error("The file could not be read; choose it again."));
    reader.readAsDataURL(file);
  });
}

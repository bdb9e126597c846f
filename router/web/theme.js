// Light, dark, or as the system has it; remembered here.

const THEMES = /** @type {const} */ (["system", "light", "dark"]);
const NAME = "nearfar.theme";

/** @returns {string} */
export function theme() {
  return localStorage.getItem(NAME) ?? THEMES[0];
}

/** @param {string} chosen */
export function setTheme(chosen) {
  localStorage.setItem(NAME, chosen);
  document.documentElement.dataset.theme = chosen;
}

/** @param {string} now */
export function nextTheme(now) {
  return THEMES[(THEMES.indexOf(/** @type {any} */ (now)) + 1) % THEMES.length];
}

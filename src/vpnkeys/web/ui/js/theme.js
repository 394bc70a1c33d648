// Light, dark, or as the system has it. The choice is kept in this browser.
const KEPT_AS = "vpnkeys.theme";

/** @typedef {"auto" | "light" | "dark"} Theme */

/** @type {Theme[]} */
export const themes = ["auto", "light", "dark"];

/** Returns the theme that was chosen; "auto" follows the system. */
export function currentTheme() {
  return themes.find((theme) => theme === document.documentElement.dataset.theme) ?? "auto";
}

/** Applies the kept choice and follows the system's changes. */
export function startTheme() {
  use(localStorage.getItem(KEPT_AS));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
}

/** @param {Theme} theme */
export function chooseTheme(theme) {
  localStorage.setItem(KEPT_AS, theme);
  use(theme);
  announce();
}

/** @param {string | null} theme */
function use(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

// A canvas does not follow style sheets: charts listen to this event and draw again.
const announce = () => document.dispatchEvent(new Event("theme"));

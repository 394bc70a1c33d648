// Light, dark, or as the system has it. The choice is kept in this browser.
const KEPT_AS = "vpnkeys.theme";
export const themes = ["auto", "light", "dark"];

export const currentTheme = () => document.documentElement.dataset.theme ?? "auto";

export function startTheme() {
  use(localStorage.getItem(KEPT_AS));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
}

export function chooseTheme(theme) {
  localStorage.setItem(KEPT_AS, theme);
  use(theme);
  announce();
}

function use(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

// Canvases do not follow style sheets by themselves.
const announce = () => document.dispatchEvent(new Event("theme"));

// Addresses: what follows # names a view, so that every view can be linked to, gone back to and reloaded.

/**
 * @typedef {(context: Page.ViewContext) => void} View
 * @type {{ expression: RegExp, names: string[], view: View }[]}
 */
const routes = [];
/** @type {AbortController | null} */
let shown = null;
let fallback = "#/keys";

/**
 * Adds a view; `:name` in the pattern becomes a parameter.
 * @param {string} pattern
 * @param {View} view
 */
export function route(pattern, view) {
  /** @type {string[]} */
  const names = [];
  const source = pattern.replace(/:(\w+)/g, (_, name) => (names.push(name), "([^/]+)"));
  routes.push({ expression: new RegExp(`^${source}$`), names, view });
}

/**
 * Sets the address that replaces one without a view.
 * @param {string} address
 */
export const otherwise = (address) => (fallback = address);

/** Returns the part of the address that names the view. */
export const path = () => location.hash.slice(1) || "/";

/** @param {string} address */
export const go = (address) => (location.hash = address);

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand; no key has such an id
  }
}

/**
 * Shows the view of the present address; the signal of the view before is aborted.
 * @param {HTMLElement} main
 * @param {{ focus: boolean }} options
 */
export function show(main, { focus }) {
  shown?.abort();
  shown = new AbortController();
  for (const { expression, names, view } of routes) {
    const found = expression.exec(path());
    if (!found) continue;
    const params = Object.fromEntries(names.map((name, index) => [name, decoded(found[index + 1])]));
    view({ main, params, signal: shown.signal });
    if (focus) focusHeading(main);
    return;
  }
  location.replace(fallback);
}

/** Aborts the signal of the view that is shown. */
export const stop = () => shown?.abort();

/**
 * Moves the focus to the view's heading, where a screen reader goes on reading.
 * @param {HTMLElement} main
 */
export function focusHeading(main) {
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

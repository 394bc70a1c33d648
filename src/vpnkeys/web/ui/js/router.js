// Addresses: what is behind # names a view, so that every view can be linked to, gone back to and reloaded.
const routes = [];
let leave = null;
let unknown = "#/keys";

export function route(pattern, view) {
  const names = [];
  const source = pattern.replace(/:(\w+)/g, (_, name) => (names.push(name), "([^/]+)"));
  routes.push({ expression: new RegExp(`^${source}$`), names, view });
}

export const otherwise = (address) => (unknown = address);
export const path = () => location.hash.slice(1) || "/";
export const go = (address) => (location.hash = address);

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody typed it; it names nothing
  }
}

// Shows the view of the present address; the one before is told by its signal that it is over.
export function show(main, { focus }) {
  leave?.abort();
  leave = new AbortController();
  for (const { expression, names, view } of routes) {
    const found = expression.exec(path());
    if (!found) continue;
    const params = Object.fromEntries(names.map((name, place) => [name, decoded(found[place + 1])]));
    view({ main, params, signal: leave.signal });
    if (focus) focusHeading(main);
    return;
  }
  location.replace(unknown);
}

export const stop = () => leave?.abort();

export function focusHeading(main) {
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

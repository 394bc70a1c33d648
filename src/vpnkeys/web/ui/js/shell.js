// What surrounds every view: navigation, the server's health, the signed-in user, language and theme.
import { remove } from "./api.js";
import { h, replace } from "./dom.js";
import { icon, mark } from "./icons.js";
import { chooseLanguage, currentLanguage, t } from "./i18n.js";
import { actorName, busyWhile } from "./parts.js";
import { statusLine } from "./problems.js";
import { path } from "./router.js";
import { may, state } from "./store.js";
import { chooseTheme, currentTheme, themes } from "./theme.js";
import { finishAll, moveMessages } from "./toast.js";

/** @type {{ address: string, icon: Page.IconName, label: Page.MessageName, scope: Api.Scope }[]} */
const SECTIONS = [
  { address: "/overview", icon: "chart", label: "nav.overview", scope: "read" },
  { address: "/keys", icon: "key", label: "nav.keys", scope: "read" },
  { address: "/system", icon: "system", label: "nav.system", scope: "read" },
  { address: "/access", icon: "access", label: "nav.access", scope: "admin" },
  { address: "/audit", icon: "audit", label: "nav.audit", scope: "admin" },
];

/** @type {Record<import("./theme.js").Theme, Page.IconName>} */
const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" };

/** @type {AbortController | null} */
let built = null;

/**
 * Returns the elements of the page, and the one that views are shown in; listeners of the shell before end.
 * @param {{ onlanguage: () => void, onleft: () => void }} events
 */
export function buildShell({ onlanguage, onleft }) {
  built?.abort();
  built = new AbortController();
  const links = SECTIONS.filter(({ scope }) => may(scope)).map(({ address, icon: name, label }) => ({
    address,
    element: h("a", { href: `#${address}` }, icon(name), h("span", {}, t(label))),
  }));
  const main = h("main", { id: "main" });
  const nav = h("nav", { class: "sections", "aria-label": t("nav.label") }, h("ul", { role: "list" }, links.map(({ element }) => h("li", {}, element))));
  const header = h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: "#/keys", "aria-label": t("nav.home") }, mark(), h("span", { "aria-hidden": "true" }, "vpnkeys")),
    nav,
    statusLine(built.signal),
    h("div", { class: "me" }, userName(), h("div", { class: "row tools" }, languageButton(onlanguage), themeButton(), signOut(onleft))),
  );
  const skip = h("button", { type: "button", class: "skip", onclick: () => skipTo(main) }, t("nav.skip"));
  const toasts = h("div", { id: "toasts", role: "status", "aria-live": "polite", "aria-label": t("nav.messages") });
  moveMessages(toasts);
  return { main, elements: [skip, header, main, toasts], markSection: () => markSection(links) };
}

/** @param {HTMLElement} main */
function skipTo(main) {
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}

/**
 * Marks the link of the section that is shown.
 * @param {{ address: string, element: HTMLElement }[]} links
 */
function markSection(links) {
  for (const { address, element } of links) {
    if (path() === address || path().startsWith(`${address}/`)) element.setAttribute("aria-current", "page");
    else element.removeAttribute("aria-current");
  }
}

function userName() {
  const { session } = state;
  return session && h("p", { class: "whoami" }, h("bdi", { class: "name" }, actorName(session.name)), h("span", { class: "muted" }, t(`scope.${session.scope}`)));
}

/** @type {Record<import("./i18n.js").Language, { next: import("./i18n.js").Language, name: string }>} */
const OTHER_LANGUAGES = { en: { next: "ru", name: "Русский" }, ru: { next: "en", name: "English" } };

/** Returns the other language, with its name in itself: only its readers need to understand the button. */
export const otherLanguage = () => OTHER_LANGUAGES[currentLanguage()];

/** @param {() => void} onlanguage */
function languageButton(onlanguage) {
  const { next, name } = otherLanguage();
  const change = () => {
    chooseLanguage(next);
    onlanguage();
    /** @type {HTMLElement | null} */ (document.querySelector(".language"))?.focus();
  };
  return h("button", { type: "button", class: "icon-button language", lang: next, "aria-label": name, title: name, onclick: change }, next.toUpperCase());
}

/** Returns a button that goes through the themes. */
export function themeButton() {
  const button = h("button", { type: "button", class: "icon-button", onclick: next });
  function draw() {
    const label = t("theme.label", { theme: t(`theme.${currentTheme()}`) });
    button.setAttribute("aria-label", label);
    button.title = label;
    replace(button, icon(THEME_ICONS[currentTheme()]));
  }
  function next() {
    chooseTheme(themes[(themes.indexOf(currentTheme()) + 1) % themes.length]);
    draw();
  }
  draw();
  return button;
}

/** @param {() => void} onleft */
function signOut(onleft) {
  const leave = async () => {
    await finishAll();
    await remove("/ui/session").catch(() => null);
    onleft();
  };
  const label = t("session.out");
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: busyWhile(leave) }, icon("out"));
}

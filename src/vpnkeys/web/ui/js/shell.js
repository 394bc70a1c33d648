// What is around every view: where one can go, how the server is, who is signed in, language and theme.
import { remove } from "./api.js";
import { h, replace, setText } from "./dom.js";
import { icon, mark } from "./icons.js";
import { chooseLanguage, currentLanguage, t } from "./i18n.js";
import { busyWhile } from "./parts.js";
import { path } from "./router.js";
import { may, on, state } from "./store.js";
import { chooseTheme, currentTheme, themes } from "./theme.js";
import { finishAll } from "./toast.js";

const PLACES = [
  ["/keys", "key", "nav.keys", "read"],
  ["/traffic", "chart", "nav.traffic", "read"],
  ["/system", "system", "nav.system", "read"],
  ["/access", "access", "nav.access", "admin"],
  ["/audit", "audit", "nav.audit", "admin"],
];

const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" };

let over = null;

export function buildShell({ onlanguage, onleft }) {
  over?.abort();
  over = new AbortController();
  const links = PLACES.filter(([, , , scope]) => may(scope)).map(([address, name, label]) => ({
    address,
    element: h("a", { href: `#${address}` }, icon(name), h("span", {}, t(label))),
  }));
  const main = h("main", { id: "main" });
  const nav = h("nav", { class: "places", "aria-label": t("nav.label") }, h("ul", { role: "list" }, links.map(({ element }) => h("li", {}, element))));
  const header = h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: "#/keys", "aria-label": t("nav.home") }, mark(), h("span", { "aria-hidden": "true" }, "vpnkeys")),
    nav,
    statusLine(over.signal),
    h("div", { class: "me" }, whoami(), h("div", { class: "row tools" }, languageButton(onlanguage), themeButton(), signOut(onleft))),
  );
  const skip = h("button", { type: "button", class: "skip", onclick: () => skipTo(main) }, t("nav.skip"));
  const toasts = h("div", { id: "toasts", role: "status", "aria-live": "polite", "aria-label": t("nav.messages") });
  return { main, elements: [skip, header, main, toasts], showPlace: () => showPlace(links) };
}

function skipTo(main) {
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}

function showPlace(links) {
  for (const { address, element } of links) {
    if (path() === address || path().startsWith(`${address}/`)) element.setAttribute("aria-current", "page");
    else element.removeAttribute("aria-current");
  }
}

function statusLine(signal) {
  const text = h("span");
  const element = h("p", { class: "health", role: "status" }, h("i", { class: "dot", "aria-hidden": "true" }), text);
  const update = () => {
    const level = state.live === "lost" ? "lost" : (state.health?.status ?? "connecting");
    element.dataset.level = level;
    setText(text, t(`health.${level}`));
  };
  on("health live", update, signal);
  update();
  return element;
}

const whoami = () =>
  h("p", { class: "whoami" }, h("bdi", { class: "name" }, state.session.name), h("span", { class: "muted" }, t(`scope.${state.session.scope}`)));

function languageButton(onlanguage) {
  const other = currentLanguage() === "en" ? "ru" : "en";
  const change = () => {
    chooseLanguage(other);
    onlanguage();
    document.querySelector(".language")?.focus();
  };
  // In the language it leads to: whoever needs it reads it.
  const name = { en: "English", ru: "Русский" }[other];
  return h("button", { type: "button", class: "icon-button language", lang: other, "aria-label": name, title: name, onclick: change }, other.toUpperCase());
}

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

function signOut(onleft) {
  const leave = async () => {
    await finishAll();
    await remove("/ui/session").catch(() => null);
    onleft();
  };
  const label = t("session.out");
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: busyWhile(leave) }, icon("out"));
}

// What went wrong, as the API says it: a sentence for people, and a word to search for.
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { currentLanguage, has, t } from "./i18n.js";

export function sentence(error) {
  if (error.text) return error.text;
  const name = `error.${error.code}`;
  if (has(name)) return t(name);
  return error.message || t("error.unknown");
}

export function describe(error) {
  const told = sentence(error);
  const english = told === error.message && currentLanguage() !== "en";
  return [
    icon("warn"),
    h("p", { lang: english ? "en" : null }, told),
    error.code && h("code", { class: "code" }, error.code),
  ];
}

// A value that cannot be sent as it is; `field` gets the focus.
export function wrong(text, field) {
  return Object.assign(new Error(text), { text, field });
}

export function failure(error, retry) {
  return h(
    "div",
    { class: "empty", role: "alert" },
    h("div", { class: "problem" }, describe(error)),
    retry && h("button", { type: "button", class: "button", onclick: retry }, icon("refresh"), t("action.retry")),
  );
}

export const empty = (title, text, ...more) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text && h("p", {}, text), more);

export const loading = () => h("div", { class: "loading", role: "status" }, h("span", { class: "sr-only" }, t("state.loading")), h("i"), h("i"), h("i"));

// Errors for the reader: a sentence, and the code to search for.
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { currentLanguage, has, t } from "./i18n.js";

/** @param {unknown} error */
const problemOf = (error) => /** @type {Page.Problem} */ (error ?? {});

/**
 * Returns the sentence for an error: its own text, the translation of its code, or the server's English.
 * @param {unknown} error
 */
export function sentence(error) {
  const { text, code, message } = problemOf(error);
  if (text) return text;
  const name = `error.${code}`;
  if (has(name)) return t(name);
  return message || t("error.unknown");
}

/**
 * Returns the icon, sentence and code of an error.
 * @param {unknown} error
 */
export function describe(error) {
  const { code, message } = problemOf(error);
  const text = sentence(error);
  const isEnglish = text === message && currentLanguage() !== "en";
  return [icon("warn"), h("p", { lang: isEnglish ? "en" : null }, text), code && h("code", { class: "code" }, code)];
}

/**
 * Returns an error for a value that cannot be sent; the field gets the focus.
 * @param {string} text
 * @param {Page.Field} field
 */
export const wrong = (text, field) => Object.assign(new Error(text), { text, field });

/**
 * Returns the field that an error asks to correct.
 * @param {unknown} error
 */
export const fieldOf = (error) => problemOf(error).field;

/**
 * Returns the HTTP status of an error; 0 where there was no answer.
 * @param {unknown} error
 */
export const statusOf = (error) => problemOf(error).status ?? 0;

/**
 * Returns what stands in place of content that could not be loaded.
 * @param {unknown} error
 * @param {() => unknown} retry
 */
export function failure(error, retry) {
  return h(
    "div",
    { class: "empty", role: "alert" },
    h("div", { class: "problem" }, describe(error)),
    h("button", { type: "button", class: "button", onclick: retry }, icon("refresh"), t("action.retry")),
  );
}

/**
 * Returns what stands in place of an empty list.
 * @param {string} title
 * @param {string} [text]
 * @param {...Page.Child} more
 */
export const empty = (title, text, ...more) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text && h("p", {}, text), more);

/** Returns what stands in place of content that is being loaded. */
export const loading = () => h("div", { class: "loading", role: "status" }, h("span", { class: "sr-only" }, t("state.loading")), h("i"), h("i"), h("i"));

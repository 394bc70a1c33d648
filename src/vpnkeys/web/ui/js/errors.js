// Errors for the reader: a sentence, and the code to search for.
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { currentLanguage, has, t } from "./i18n.js";
import ruErrors from "../i18n/ru-errors.js";
import ruTargets from "../i18n/ru-targets.js";

/** @type {Record<string, string>} */
const RUSSIAN = ruErrors;

/**
 * Returns the Russian for a code of the server to a Russian reader; English is what the server itself writes.
 * @param {string | undefined} code
 */
export const translated = (code) => (currentLanguage() === "ru" && code && Object.hasOwn(RUSSIAN, code) ? RUSSIAN[code] : null);

const TARGETS = Object.entries(ruTargets).map(([english, russian]) => {
  const parts = english.split("{}").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return { expression: new RegExp(`^${parts.join("(.*)")}$`), russian };
});

/**
 * Returns the Russian for what a check of a target says, to a Russian reader; null where there is none.
 * @param {string} english
 */
export function translatedCheck(english) {
  if (currentLanguage() !== "ru") return null;
  for (const { expression, russian } of TARGETS) {
    const values = expression.exec(english)?.slice(1);
    if (values) return russian.replaceAll("{}", () => values.shift() ?? "");
  }
  return null;
}

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
  return translated(code) || message || t("error.unknown");
}

/**
 * Returns the icon, sentence and code of an error.
 * @param {unknown} error
 */
export function describe(error) {
  const { code, message } = problemOf(error);
  const text = sentence(error);
  const isEnglish = text === message && currentLanguage() !== "en";
  // What the server says in English names the field or the port that the translation leaves out.
  const exact = translated(code) === text && message && message !== text && h("p", { class: "muted", lang: "en" }, message);
  return [icon("warn"), h("div", {}, h("p", { lang: isEnglish ? "en" : null }, text), exact), code && h("code", { class: "code" }, code)];
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

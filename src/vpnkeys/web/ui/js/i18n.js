// Words and numbers in the reader's language. Messages are plain text with {names}; plurals are by Intl.PluralRules.
import en from "../i18n/en.js";
import ru from "../i18n/ru.js";

/** @typedef {"en" | "ru"} Language */

/** @type {Record<Language, Page.Translation>} */
const LANGUAGES = { en, ru };
const KEPT_AS = "vpnkeys.language";

/** @type {Language} */
let language = "en";

/** Returns the language of the page. */
export const currentLanguage = () => language;

/** Uses the language chosen before, else the first one of the browser that there are messages in, else English. */
export function startLanguage() {
  const wanted = [localStorage.getItem(KEPT_AS), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  use(wanted.find(isLanguage) ?? "en");
}

/** @param {Language} chosen */
export function chooseLanguage(chosen) {
  localStorage.setItem(KEPT_AS, chosen);
  use(chosen);
}

/**
 * @param {string | null} tag
 * @returns {tag is Language}
 */
const isLanguage = (tag) => tag !== null && Object.hasOwn(LANGUAGES, tag);

/** @param {Language} chosen */
function use(chosen) {
  language = chosen;
  formats.clear();
  document.documentElement.lang = chosen;
}

/**
 * Returns a message in the reader's language, with its {names} replaced by the values.
 * @param {Page.MessageName} name
 * @param {Page.Values} values `n` chooses the plural form
 */
export function t(name, values = {}) {
  const message = LANGUAGES[language][name] ?? name;
  const text = typeof message === "string" ? message : (message[pluralForm(Number(values.n))] ?? message.other ?? name);
  return text.replace(/\{(\w+)\}/g, (whole, value) => shown(values[value] ?? whole));
}

/**
 * Returns whether there is a message of this name: codes of a newer server have none and are shown as they are.
 * @param {string} name
 * @returns {name is Page.MessageName}
 */
export const has = (name) => Object.hasOwn(en, name);

/** @param {string | number} value */
const shown = (value) => (typeof value === "number" ? number(value) : value);

/** @param {number} n */
const pluralForm = (n) => cached("plural", () => new Intl.PluralRules(language)).select(n);

// Making an Intl format costs far more than using it.
/** @type {Map<string, unknown>} */
const formats = new Map();

/**
 * Returns the format of this name, made once for each language.
 * @template Format
 * @param {string} name
 * @param {() => Format} make
 */
function cached(name, make) {
  if (!formats.has(name)) formats.set(name, make());
  return /** @type {Format} */ (formats.get(name));
}

/**
 * Returns the number in the reader's way of writing.
 * @param {number} value
 * @param {number} [digits] at most so many after the point
 * @param {number} [least] so many even when they are zero: a number that changes keeps its width
 */
export const number = (value, digits = 0, least = 0) =>
  cached(`n${digits}.${least}`, () => new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: least })).format(value);

/**
 * Returns the value with three digits and its unit: 9.87, 98.7, 987.
 * @param {number} value
 * @param {string[]} units each a thousand of the one before
 * @param {boolean} keepsWidth
 */
function scaled(value, units, keepsWidth) {
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  const digits = step === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${number(value, digits, keepsWidth ? digits : 0)}\u00a0${units[step]}`;
}

/** @param {number} value */
export const bytes = (value) => scaled(value, t("unit.bytes").split(" "), false);

/** @param {number} bytesPerSecond */
export const rate = (bytesPerSecond) => scaled(bytesPerSecond * 8, t("unit.rate").split(" "), true);

/**
 * Returns the moment of a time of the API: text in UTC without an offset, or Unix seconds.
 * @param {string | number} value
 */
export const moment = (value) => new Date(typeof value === "number" ? value * 1000 : value.endsWith("Z") ? value : `${value}Z`);

/** @satisfies {Record<string, Intl.DateTimeFormatOptions>} */
const DATES = {
  date: { dateStyle: "medium" },
  time: { dateStyle: "medium", timeStyle: "short" },
  exact: { dateStyle: "medium", timeStyle: "medium" },
  hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  clock: { hour: "2-digit", minute: "2-digit" },
  today: { day: "numeric", month: "short" },
  day: { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" },
  monthday: { day: "numeric", month: "short", timeZone: "UTC" },
};
/** @typedef {keyof typeof DATES} DateStyle */

// English and Russian are written in many countries: the browser's own of them, if it has one.
const country = () => navigator.languages.find((tag) => tag.slice(0, 2) === language) ?? language;

/**
 * Returns the time in the reader's way of writing.
 * @param {string | number} value
 * @param {DateStyle} [style]
 */
export function date(value, style = "time") {
  return cached(`d${style}`, () => new Intl.DateTimeFormat(country(), { ...DATES[style], hourCycle: "h23" })).format(moment(value));
}

// Each with its length, and from how many seconds on it is used: "in 40 days" says more than "next month".
/** @type {[Intl.RelativeTimeFormatUnit, number, number][]} */
const SPANS = [
  ["year", 31_536_000, 63_072_000],
  ["month", 2_628_000, 7_884_000],
  ["day", 86_400, 86_400],
  ["hour", 3_600, 3_600],
  ["minute", 60, 60],
];

/**
 * Returns "in 3 days" or "5 minutes ago"; below a minute "just now".
 * @param {string | number} value
 * @param {number} [now]
 */
export function relative(value, now = Date.now()) {
  const seconds = (moment(value).getTime() - now) / 1000;
  const span = SPANS.find(([, , least]) => Math.abs(seconds) >= least);
  if (!span) return t("time.now");
  const [unit, length] = span;
  return cached("relative", () => new Intl.RelativeTimeFormat(language, { numeric: "always" })).format(Math.round(seconds / length), unit);
}

/**
 * Returns a time that has passed in its two largest units, such as "3 days 4 hr".
 * @param {number} seconds
 */
export function span(seconds) {
  const parts = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  const found = parts.findIndex((value) => value > 0);
  const first = found < 0 ? parts.length - 1 : found;
  const units = ["day", "hour", "minute"];
  const text = (/** @type {number} */ index) =>
    cached(`u${units[index]}`, () => new Intl.NumberFormat(language, { style: "unit", unit: units[index], unitDisplay: "short" })).format(parts[index]);
  return [first, first + 1].filter((index) => index < units.length && (index === first || parts[index] > 0)).map(text).join(" ");
}

/**
 * Orders two texts as the reader's language does, numbers in them by value.
 * @param {string} one
 * @param {string} other
 */
export const compare = (one, other) =>
  cached("collator", () => new Intl.Collator(language, { numeric: true, sensitivity: "base" })).compare(one, other);

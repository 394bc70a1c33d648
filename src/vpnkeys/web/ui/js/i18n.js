// Words and numbers in the reader's language. Messages are plain text with {places}; plurals are by Intl.PluralRules.
import en from "../i18n/en.js";
import ru from "../i18n/ru.js";

const LANGUAGES = { en, ru };
const KEPT_AS = "vpnkeys.language";

let language = "en";
const kept = new Map();

export const currentLanguage = () => language;
export const languages = Object.keys(LANGUAGES);

export function startLanguage() {
  const wished = localStorage.getItem(KEPT_AS) ?? navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES);
  use(wished in LANGUAGES ? wished : "en");
}

export function chooseLanguage(chosen) {
  localStorage.setItem(KEPT_AS, chosen);
  use(chosen);
}

function use(chosen) {
  language = chosen;
  kept.clear();
  document.documentElement.lang = chosen;
}

export function t(name, values = {}) {
  const message = LANGUAGES[language][name] ?? en[name] ?? name;
  const text = typeof message === "string" ? message : message[made("plural", () => new Intl.PluralRules(language)).select(values.n)];
  return text.replace(/\{(\w+)\}/g, (place, value) => shown(values[value] ?? place));
}

// Whether there are words for it: codes that a newer server may send are shown as they are.
export const has = (name) => name in en;

const shown = (value) => (typeof value === "number" ? number(value) : String(value));

function made(name, make) {
  if (!kept.has(name)) kept.set(name, make());
  return kept.get(name);
}

// `least` digits are there even when they are zero: a number that moves keeps its width.
export const number = (value, digits = 0, least = 0) =>
  made(`n${digits}.${least}`, () => new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: least })).format(value);

// Three digits are enough for any eye: 9.87, 98.7, 987.
function scaled(value, units, moves) {
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  const digits = step === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${number(value, digits, moves ? digits : 0)}\u00a0${units[step]}`;
}

export const bytes = (value) => scaled(value, t("unit.bytes").split(" "));
export const rate = (bytesPerSecond) => scaled(bytesPerSecond * 8, t("unit.rate").split(" "), true);

// The API tells times in UTC without an offset, or in Unix seconds.
export const moment = (value) => new Date(typeof value === "number" ? value * 1000 : value.endsWith("Z") ? value : `${value}Z`);

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

// English and Russian are written in many countries: the browser's own of them, if it has one.
const place = () => navigator.languages.find((tag) => tag.slice(0, 2) === language) ?? language;

export function date(value, style = "time") {
  return made(`d${style}`, () => new Intl.DateTimeFormat(place(), { ...DATES[style], hourCycle: "h23" })).format(moment(value));
}

// [unit, its length, from how many seconds on it is used]: "in 40 days" says more than "next month".
const SPANS = [
  ["year", 31_536_000, 63_072_000],
  ["month", 2_628_000, 7_884_000],
  ["day", 86_400, 86_400],
  ["hour", 3_600, 3_600],
  ["minute", 60, 60],
];

// "in 3 days", "5 minutes ago"; below a minute "just now".
export function relative(value, now = Date.now()) {
  const seconds = (moment(value).getTime() - now) / 1000;
  const [unit, length] = SPANS.find(([, , least]) => Math.abs(seconds) >= least) ?? [];
  if (!unit) return t("time.now");
  return made("relative", () => new Intl.RelativeTimeFormat(language, { numeric: "always" })).format(Math.round(seconds / length), unit);
}

export const compare = (one, other) =>
  made("collator", () => new Intl.Collator(language, { numeric: true, sensitivity: "base" })).compare(one, other);

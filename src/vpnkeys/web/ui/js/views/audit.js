// The audit log: every change with its author and its outcome.
import { get, isAbort, query } from "../api.js";
import { h, newId, replace } from "../dom.js";
import { empty, failure, loading } from "../errors.js";
import { field, select } from "../form.js";
import { bytes, date, has, t } from "../i18n.js";
import { actorName, button, card, named, title } from "../parts.js";
import { keyOf, on, state } from "../store.js";
import { term } from "./keys/term.js";

const PAGE = 50;
// Fields whose values are words, with the beginning of their messages.
/** @type {Record<string, string>} */
const WORDS = { status: "status", traffic_window: "window" };

// What an action begins with, as the filter names it.
const KINDS = /** @type {const} */ (["key", "token", "subscription", "webhook", "backup", "system"]);
const OUTCOMES = /** @type {const} */ (["done", "taken_back", "failed"]);
const TYPING_MS = 300;

/** @typedef {{ action: string, outcome: string, actor: string, subject: string }} Chosen */

// Kept while the page lives: after a look at a key the log is as it was.
const shown = { action: "", outcome: "", actor: "", key: "" };

/** @param {Page.ViewContext} context */
export function auditView({ main, signal }) {
  title(t("nav.audit"));
  const table = auditTable(signal, { chosen: () => ({ ...shown, subject: subjectOf(shown.key) }) });
  replace(main, h("header", { class: "view-head" }, h("h1", {}, t("nav.audit"))), card(t("audit.title"), {}, h("p", { class: "muted" }, t("audit.text")), filters(table.reload), table.element));
}

/**
 * Returns the id of the key that a text names, else the text. Asked anew at each load: the key may have come meanwhile.
 * @param {string} text
 */
function subjectOf(text) {
  const found = (state.keys ?? []).find((one) => one.name === text || one.id === text || one.uuid === text);
  return found?.id ?? text.trim();
}

/**
 * Returns the fields that choose records; `change` is called when they have changed.
 * @param {() => void} change
 */
function filters(change) {
  /**
   * @param {"audit.kind" | "audit.outcome"} label
   * @param {"action" | "outcome"} name
   * @param {Page.Choice[]} choices
   */
  const choice = (label, name, choices) => {
    const input = select([["", t("audit.all")], ...choices], shown[name], { onchange: () => ((shown[name] = input.value), change()) });
    return field(t(label), input);
  };
  let typing = 0;
  const later = () => {
    clearTimeout(typing);
    typing = setTimeout(change, TYPING_MS);
  };
  const who = h("input", { type: "search", value: shown.actor, autocomplete: "off", dir: "auto", oninput: chooseActor });
  const names = newId("names");
  const key = h("input", { type: "search", value: shown.key, list: names, autocomplete: "off", dir: "auto", oninput: chooseKey });
  function chooseActor() {
    shown.actor = who.value.trim();
    later();
  }
  function chooseKey() {
    shown.key = key.value;
    later();
  }
  return h(
    "div",
    { class: "audit-filters", role: "search", "aria-label": t("audit.filter") },
    choice("audit.kind", "action", KINDS.map((kind) => /** @type {const} */ ([kind, t(`audit.kind.${kind}`)]))),
    choice("audit.outcome", "outcome", OUTCOMES.map((outcome) => /** @type {const} */ ([outcome, t(`outcome.${outcome}`)]))),
    field(t("audit.key"), key),
    field(t("audit.who"), who),
    h("datalist", { id: names }, (state.keys ?? []).map(({ name }) => h("option", { value: name }))),
  );
}

/**
 * Returns the records that are chosen, or those of one key. New ones are loaded by themselves until the user asks for
 * older ones.
 * @param {AbortSignal} signal
 * @param {{ chosen: () => Partial<Chosen>, compact?: boolean }} options
 */
export function auditTable(signal, { chosen, compact = false }) {
  const body = h("ol", { class: compact ? "audit compact" : "audit", role: "list" });
  const more = button(t("audit.more"), { onclick: () => load(records.at(-1)?.id ?? null) });
  const notice = h("div", { role: "status" }, loading());
  const limit = compact ? 10 : PAGE;
  /** @type {Api.AuditRecord[]} */
  let records = [];
  let showsOlder = false;
  let asked = 0;

  /** @param {number | null} [before] the records before this id */
  async function load(before = null) {
    const mine = ++asked;
    const { subject, action, outcome, actor } = chosen();
    try {
      const page = await get(query("/api/audit", { limit, before, subject, action, outcome, actor }), { signal });
      if (mine !== asked) return; // the fields have changed meanwhile
      records = before === null ? page : [...records, ...page];
      showsOlder = before !== null;
      more.hidden = page.length < limit;
      replace(body, records.map((record) => entry(record, compact)));
      const isChosen = !compact && Boolean(subject || action || outcome || actor);
      const none = isChosen ? empty(t("audit.no-match"), t("audit.no-match-text")) : empty(t("audit.none"), t("audit.none-text"));
      replace(notice, records.length === 0 ? none : []);
    } catch (error) {
      if (!isAbort(error)) replace(notice, failure(error, () => load(before)));
    }
  }
  more.hidden = true;
  on("keys", () => showsOlder || load(), signal);
  load();
  return { element: h("div", {}, body, notice, h("div", { class: "more-row" }, more)), reload: () => load() };
}

/**
 * @param {Api.AuditRecord} record
 * @param {boolean} compact
 */
function entry(record, compact) {
  const outcome = record.outcome !== "done" && h("span", { class: "badge limited" }, t(`outcome.${record.outcome}`));
  const action = `audit.${record.action}`;
  return h(
    "li",
    {},
    h("time", { datetime: `${record.at}Z` }, date(record.at, "exact")),
    h(
      "div",
      {},
      h("p", {}, h("b", {}, has(action) ? t(action) : record.action), !compact && subjectPart(record), outcome),
      changesOf(record),
      record.detail && h("p", { class: "muted", lang: "en" }, record.detail),
    ),
    h("p", { class: "who" }, named(actorName(record.actor)), h("span", { class: "muted" }, record.origin)),
  );
}

/** @param {Api.AuditRecord} record */
function subjectPart(record) {
  const key = keyOf(record.subject);
  if (key) return h("a", { href: `#/keys/${encodeURIComponent(key.id)}` }, named(key.name));
  const name = record.after.name ?? record.before.name;
  return name ? named(String(name)) : record.subject && h("code", { class: "mono" }, record.subject);
}

/**
 * Returns each value that the change replaced: before → after.
 * @param {Api.AuditRecord} record
 */
function changesOf(record) {
  const changed = Object.keys({ ...record.before, ...record.after }).filter((name) => name in record.before && name in record.after);
  if (changed.length === 0) return null;
  const value = (/** @type {string} */ name, /** @type {unknown} */ shown) => h("bdi", {}, inWords(name, shown));
  const label = (/** @type {string} */ name) => {
    const message = `field.${name}`;
    return h("span", { class: "muted" }, has(message) ? t(message) : name);
  };
  return h("ul", { class: "changes" }, changed.map((name) => h("li", {}, label(name), " ", value(name, record.before[name]), " → ", value(name, record.after[name]))));
}

/**
 * Returns a value of the log as its reader writes it.
 * @param {string} name
 * @param {unknown} value
 */
function inWords(name, value) {
  if (value === null || value === "") return "—";
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (name.endsWith("bytes") && typeof value === "number") return bytes(value);
  if (name === "expires_after_s" && typeof value === "number") return term(value);
  if (name.endsWith("_at") && typeof value === "string") return date(value, "time");
  const message = `${WORDS[name]}.${value}`;
  if (has(message)) return t(message);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

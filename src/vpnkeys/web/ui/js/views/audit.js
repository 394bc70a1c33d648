// The audit log: every change with its author and its outcome.
import { get, isAbort, query } from "../api.js";
import { h, replace } from "../dom.js";
import { empty, failure, loading } from "../errors.js";
import { bytes, date, has, t } from "../i18n.js";
import { button, card, named, title } from "../parts.js";
import { keyOf, on } from "../store.js";

const PAGE = 50;
// Fields whose values are words, with the beginning of their messages.
/** @type {Record<string, string>} */
const WORDS = { status: "status", traffic_window: "window" };

/** @param {Page.ViewContext} context */
export function auditView({ main, signal }) {
  title(t("nav.audit"));
  const { element } = auditTable(signal, {});
  replace(main, h("header", { class: "view-head" }, h("h1", {}, t("nav.audit"))), card(t("audit.title"), {}, h("p", { class: "muted" }, t("audit.text")), element));
}

/**
 * Returns the records of everything or of one subject. New ones are loaded by themselves until the user asks for older ones.
 * @param {AbortSignal} signal
 * @param {{ subject?: string, compact?: boolean }} options
 */
export function auditTable(signal, { subject = "", compact = false }) {
  const body = h("ol", { class: compact ? "audit compact" : "audit", role: "list" });
  const more = button(t("audit.more"), { onclick: () => load(records.at(-1)?.id ?? null) });
  const notice = h("div", {}, loading());
  const limit = compact ? 10 : PAGE;
  /** @type {Api.AuditRecord[]} */
  let records = [];
  let showsOlder = false;

  /** @param {number | null} [before] the records before this id */
  async function load(before = null) {
    try {
      const page = await get(query("/api/audit", { limit, before, subject }), { signal });
      records = before === null ? page : [...records, ...page];
      showsOlder = before !== null;
      more.hidden = page.length < limit;
      replace(body, records.map((record) => entry(record, compact)));
      replace(notice, records.length === 0 ? empty(t("audit.none")) : []);
    } catch (error) {
      if (!isAbort(error)) replace(notice, failure(error, () => load(before)));
    }
  }
  more.hidden = true;
  on("keys", () => showsOlder || load(), signal);
  load();
  return { element: h("div", {}, body, notice, h("div", { class: "more-row" }, more)) };
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
    h("p", { class: "who" }, named(record.actor), h("span", { class: "muted" }, record.origin)),
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
  if (name.endsWith("_at") && typeof value === "string") return date(value, "time");
  const message = `${WORDS[name]}.${value}`;
  if (has(message)) return t(message);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

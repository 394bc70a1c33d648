// The audit log: every change, who made it, and how it ended.
import { get, query } from "../api.js";
import { h, replace } from "../dom.js";
import { empty, failure, loading } from "../errors.js";
import { bytes, date, has, t } from "../i18n.js";
import { button, card, named, title } from "../parts.js";
import { keyOf, on } from "../store.js";

const PAGE = 50;

export function auditView({ main, signal }) {
  title(t("nav.audit"));
  const { element } = auditTable(signal, {});
  replace(main, h("header", { class: "view-head" }, h("h1", {}, t("nav.audit"))), card(t("audit.title"), {}, h("p", { class: "muted" }, t("audit.text")), element));
}

// Of everything, or of one subject. The newest come by themselves as long as no older ones were asked for.
export function auditTable(signal, { subject = "", compact = false }) {
  const body = h("ol", { class: compact ? "audit compact" : "audit", role: "list" });
  const more = button(t("audit.more"), { onclick: () => load(records.at(-1)?.id) });
  const state = h("div", {}, loading());
  const limit = compact ? 10 : PAGE;
  let records = [];
  let wentOn = false;

  async function load(before = "") {
    try {
      const page = await get(query("/api/audit", { limit, before, subject }), { signal });
      records = before ? [...records, ...page] : page;
      wentOn = before !== "";
      more.hidden = page.length < limit;
      replace(body, records.map((record) => entry(record, compact)));
      replace(state, records.length === 0 ? empty(t("audit.none")) : []);
    } catch (error) {
      if (error.name !== "AbortError") replace(state, failure(error, () => load(before)));
    }
  }
  more.hidden = true;
  on("keys", () => wentOn || load(), signal);
  load();
  return { element: h("div", {}, body, state, h("div", { class: "more-row" }, more)) };
}

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
      facts(record),
      record.detail && h("p", { class: "muted", lang: "en" }, record.detail),
    ),
    h("p", { class: "who" }, named(record.actor), h("span", { class: "muted" }, record.origin)),
  );
}

function subjectPart(record) {
  const key = keyOf(record.subject);
  if (key) return h("a", { href: `#/keys/${encodeURIComponent(key.id)}` }, named(key.name));
  const name = record.after.name ?? record.before.name;
  return name ? named(String(name)) : record.subject && h("code", { class: "mono" }, record.subject);
}

// What differs: was → is.
function facts(record) {
  const changed = Object.keys({ ...record.before, ...record.after }).filter((name) => name in record.before && name in record.after);
  if (changed.length === 0) return null;
  const value = (name, shown) => h("bdi", {}, inWords(name, shown));
  const label = (name) => h("span", { class: "muted" }, has(`field.${name}`) ? t(`field.${name}`) : name);
  return h("ul", { class: "changes" }, changed.map((name) => h("li", {}, label(name), " ", value(name, record.before[name]), " → ", value(name, record.after[name]))));
}

function inWords(name, value) {
  if (value === null || value === "") return "—";
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (name.endsWith("bytes")) return bytes(value);
  if (name.endsWith("_at")) return date(value, "time");
  if (name === "status") return t(`status.${value}`);
  if (name === "traffic_window") return t(`window.${value}`);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

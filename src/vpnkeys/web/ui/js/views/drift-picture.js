// Three rows of squares, a column for each key: what is not in line is seen at once.
import { h } from "../dom.js";
import { number, t } from "../i18n.js";
import { keyOf } from "../store.js";

export function driftPicture(validation) {
  const keys = validation.key_uuids;
  const strangers = [...new Set([...validation.config.extra, ...validation.runtime.extra])].filter((who) => !keys.includes(who));
  const rows = [
    { label: t("drift.database"), count: keys.length, stateOf: (who) => (strangers.includes(who) ? "none" : "right") },
    { label: "config.json", count: validation.config_count, unreadable: validation.problem !== "", stateOf: (who) => stateIn(validation.config, who, strangers) },
    { label: t("drift.running"), count: null, unreadable: !validation.runtime.reachable, stateOf: (who) => stateIn(validation.runtime, who, strangers) },
  ];
  const columns = [...keys, ...strangers];
  return h(
    "figure",
    { class: "drift" },
    h("div", { class: "drift-rows", role: "img", "aria-label": summary(validation, strangers) }, rows.map((row) => strip(row, columns))),
    h("figcaption", { class: "legend" }, ["right", "missing", "different", "extra"].map((state) => h("span", {}, h("i", { class: `square ${state}` }), t(`drift.legend.${state}`)))),
  );
}

function stateIn(side, who, strangers) {
  if (!side.reachable) return "unknown";
  if (side.different.includes(who)) return "different";
  if (side.missing.includes(who)) return "missing";
  if (strangers.includes(who)) return side.extra.includes(who) ? "extra" : "none";
  return "right";
}

function strip({ label, count, unreadable, stateOf }, columns) {
  const square = (who) => {
    const state = stateOf(who);
    return h("i", { class: `square ${state}`, title: `${keyOf(who)?.name ?? who} · ${t(`drift.legend.${state}`)}` });
  };
  return h(
    "div",
    { class: unreadable ? "strip unreadable" : "strip" },
    h("span", { class: "strip-label" }, label, count !== null && h("span", { class: "muted figure" }, number(count))),
    h("span", { class: "squares" }, columns.map(square), columns.length === 0 && h("span", { class: "muted" }, t("drift.empty"))),
  );
}

function summary(validation, strangers) {
  const of = (side) => t("drift.summary-side", { missing: side.missing.length, different: side.different.length, extra: side.extra.length });
  return [
    t("drift.summary", { n: validation.key_uuids.length }),
    `config.json: ${of(validation.config)}`,
    `${t("drift.running")}: ${validation.runtime.reachable ? of(validation.runtime) : t("drift.silent")}`,
    strangers.length > 0 ? t("drift.strangers", { n: strangers.length }) : "",
  ].filter(Boolean).join(" ");
}

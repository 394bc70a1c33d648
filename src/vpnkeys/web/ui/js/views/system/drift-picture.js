// A picture of three rows of squares with a column for each key: a difference shows as another colour.
import { h } from "../../dom.js";
import { number, t } from "../../i18n.js";
import { keyOf } from "../../store.js";

/** @typedef {"right" | "missing" | "different" | "extra" | "none" | "unknown"} SquareState */

/**
 * A row of the picture.
 * @typedef {object} Row
 * @property {string} label
 * @property {number | null} count
 * @property {boolean} unreadable
 * @property {(id: string) => SquareState} stateOf
 */

/** @type {SquareState[]} */
const LEGEND = ["right", "missing", "different", "extra", "none", "unknown"];

/** @param {Api.Validation} validation */
export function driftPicture(validation) {
  const keys = validation.key_uuids;
  const extras = [...new Set([...validation.config.extra, ...validation.runtime.extra])].filter((id) => !keys.includes(id));
  /** @type {Row[]} */
  const rows = [
    { label: t("drift.database"), count: keys.length, unreadable: false, stateOf: (id) => (extras.includes(id) ? "none" : "right") },
    { label: "config.json", count: validation.config_count, unreadable: validation.problem !== "", stateOf: (id) => stateIn(validation.config, id, extras) },
    { label: t("drift.running"), count: null, unreadable: !validation.runtime.reachable, stateOf: (id) => stateIn(validation.runtime, id, extras) },
  ];
  const columns = [...keys, ...extras];
  return h(
    "figure",
    { class: "drift" },
    h("div", { class: "drift-rows", role: "img", "aria-label": summary(validation, extras) }, rows.map((row) => strip(row, columns))),
    columns.length > 0 && h("figcaption", { class: "legend" }, LEGEND.map((state) => h("span", {}, h("i", { class: `square ${state}` }), t(`drift.legend.${state}`)))),
  );
}

/**
 * @param {Api.Comparison} side
 * @param {string} id
 * @param {string[]} extras
 * @returns {SquareState}
 */
function stateIn(side, id, extras) {
  if (!side.reachable) return "unknown";
  if (side.different.includes(id)) return "different";
  if (side.missing.includes(id)) return "missing";
  if (extras.includes(id)) return side.extra.includes(id) ? "extra" : "none";
  return "right";
}

/**
 * @param {Row} row
 * @param {string[]} columns
 */
function strip({ label, count, unreadable, stateOf }, columns) {
  const square = (/** @type {string} */ id) => {
    const state = stateOf(id);
    return h("i", { class: `square ${state}`, title: `${keyOf(id)?.name ?? id} · ${t(`drift.legend.${state}`)}` });
  };
  return h(
    "div",
    { class: unreadable ? "strip unreadable" : "strip" },
    h("span", { class: "strip-label" }, label, count !== null && h("span", { class: "muted figure" }, number(count))),
    columns.length > 0 ? h("span", { class: "squares" }, columns.map(square)) : h("span", { class: "muted" }, t("drift.empty")),
  );
}

/**
 * @param {Api.Validation} validation
 * @param {string[]} extras
 */
function summary(validation, extras) {
  const of = (/** @type {Api.Comparison} */ side) => t("drift.summary-side", { missing: side.missing.length, different: side.different.length, extra: side.extra.length });
  return [
    t("drift.summary", { n: validation.key_uuids.length }),
    `config.json: ${of(validation.config)}`,
    `${t("drift.running")}: ${validation.runtime.reachable ? of(validation.runtime) : t("drift.silent")}`,
    extras.length > 0 ? t("drift.extras", { n: extras.length }) : "",
  ].filter(Boolean).join(" ");
}

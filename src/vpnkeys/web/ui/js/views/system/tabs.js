// Heading and tabs of the section "System".
import { t } from "../../i18n.js";
import { h } from "../../dom.js";
import { tabs } from "../../parts.js";
import { may } from "../../store.js";

/** @param {string} current */
export function systemHead(current) {
  /** @type {[string, string][]} */
  const entries = [
    ["#/system", t("system.drift")],
    ["#/system/nodes", t("system.nodes")],
    ["#/system/ports", t("system.ports")],
    ["#/system/targets", t("system.targets")],
  ];
  if (may("admin")) entries.push(["#/system/backups", t("system.backups")]);
  return [h("header", { class: "view-head" }, h("h1", {}, t("nav.system"))), tabs(t("nav.system"), entries, current)];
}

// The rooms of the system.
import { t } from "../i18n.js";
import { h } from "../dom.js";
import { tabs } from "../parts.js";
import { may } from "../store.js";

export function systemHead(current) {
  const entries = [
    ["#/system", t("system.drift")],
    ["#/system/ports", t("system.ports")],
    ["#/system/targets", t("system.targets")],
  ];
  if (may("admin")) entries.push(["#/system/backups", t("system.backups")]);
  return [h("header", { class: "view-head" }, h("h1", {}, t("nav.system"))), tabs(t("nav.system"), entries, current)];
}

// Heading and tabs of the section "Access".
import { h } from "../../dom.js";
import { t } from "../../i18n.js";
import { tabs } from "../../parts.js";

/** @param {string} current */
export function accessHead(current) {
  /** @type {[string, string][]} */
  const entries = [
    ["#/access", t("access.tokens")],
    ["#/access/webhooks", t("access.webhooks")],
  ];
  return [h("header", { class: "view-head" }, h("h1", {}, t("nav.access"))), tabs(t("nav.access"), entries, current)];
}

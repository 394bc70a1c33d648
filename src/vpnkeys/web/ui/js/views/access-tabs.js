// Who is let in, and who is told.
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { tabs } from "../parts.js";

export function accessHead(current) {
  const entries = [
    ["#/access", t("access.tokens")],
    ["#/access/webhooks", t("access.webhooks")],
  ];
  return [h("header", { class: "view-head" }, h("h1", {}, t("nav.access"))), tabs(t("nav.access"), entries, current)];
}

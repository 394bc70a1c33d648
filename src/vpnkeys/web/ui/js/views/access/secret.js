// A dialog for a secret that is shown once.
import { openDialog } from "../../dialog.js";
import { h, selectAll } from "../../dom.js";
import { icon } from "../../icons.js";
import { t } from "../../i18n.js";
import { copy } from "../../parts.js";

/**
 * @param {string} title
 * @param {string} text
 * @param {string} secret
 */
export function secretDialog(title, text, secret) {
  const shown = h("input", { class: "mono", readOnly: true, value: secret, "aria-label": title, onfocus: selectAll });
  openDialog({
    title,
    wide: true,
    body: [h("p", {}, text), h("div", { class: "once" }, shown, h("button", { type: "button", class: "button", onclick: () => copy(secret, t("copied")) }, icon("copy"), t("action.copy")))],
    actions: [{ label: t("secret.kept"), kind: "primary" }],
  });
}

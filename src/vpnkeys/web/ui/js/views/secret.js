// Something that is shown once.
import { openDialog } from "../dialog.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { t } from "../i18n.js";
import { copy } from "../parts.js";

export function secretDialog(title, text, secret) {
  const shown = h("input", { class: "mono", readOnly: true, value: secret, "aria-label": title, onfocus: (event) => event.target.select() });
  openDialog({
    title,
    wide: true,
    body: [h("p", {}, text), h("div", { class: "once" }, shown, h("button", { type: "button", class: "button", onclick: () => copy(secret, t("copied")) }, icon("copy"), t("action.copy")))],
    actions: [{ label: t("secret.kept"), kind: "primary" }],
  });
}

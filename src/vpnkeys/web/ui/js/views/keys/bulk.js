// The bar of actions for all chosen keys.
import { copyLinks, deleteKeys, downloadLinks, extendDialog, switchMany } from "../../actions.js";
import { h, setText } from "../../dom.js";
import { t } from "../../i18n.js";
import { button, iconButton } from "../../parts.js";
import { may } from "../../store.js";

/**
 * @param {() => Api.Key[]} chosenKeys
 * @param {() => void} clear
 */
export function bulkBar(chosenKeys, clear) {
  const count = h("p", { role: "status" });
  const then = (/** @type {(keys: Api.Key[]) => unknown} */ work) => async () => {
    await work(chosenKeys());
    clear();
  };
  const changing = [
    button(t("bulk.extend"), { name: "clock", onclick: () => extendDialog(chosenKeys()) }),
    button(t("bulk.enable"), { name: "power", onclick: then((keys) => switchMany(keys, true)) }),
    button(t("bulk.disable"), { name: "power", onclick: then((keys) => switchMany(keys, false)) }),
    button(t("bulk.delete"), { name: "trash", kind: "danger", onclick: then((keys) => deleteKeys(keys)) }),
  ];
  const element = h(
    "section",
    { class: "bulk", "aria-label": t("bulk.label"), hidden: true },
    count,
    h(
      "div",
      { class: "row wrap" },
      button(t("bulk.copy"), { name: "copy", onclick: () => copyLinks(chosenKeys()) }),
      button(t("bulk.download"), { name: "download", onclick: () => downloadLinks(chosenKeys()) }),
      may("keys") && changing,
    ),
    iconButton("close", t("bulk.clear"), clear),
  );
  function update() {
    const n = chosenKeys().length;
    element.hidden = n === 0;
    setText(count, n === 0 ? "" : t("bulk.count", { n }));
  }
  return { element, update };
}

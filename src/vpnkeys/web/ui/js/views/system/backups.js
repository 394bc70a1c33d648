// Backups: the list, a button to make one now, and each as a file.
import { addressOf, get, isAbort, post } from "../../api.js";
import { h, replace } from "../../dom.js";
import { empty, failure, loading } from "../../errors.js";
import { icon } from "../../icons.js";
import { bytes, t } from "../../i18n.js";
import { button, card, title, when } from "../../parts.js";
import { toast } from "../../toast.js";
import { systemHead } from "./tabs.js";

/** @param {Page.ViewContext} context */
export function backupsView({ main, signal }) {
  title(t("system.backups"));
  const content = h("div", {}, loading());
  const make = button(t("backups.make"), {
    kind: "primary",
    name: "plus",
    onclick: async () => {
      await post("/api/backups");
      toast(t("backups.made"));
      await load();
    },
  });
  replace(main, systemHead("#/system/backups"), card(t("backups.title"), { actions: [make] }, h("p", { class: "muted" }, t("backups.text")), content));

  async function load() {
    try {
      replace(content, table(await get("/api/backups", { signal })));
    } catch (error) {
      if (!isAbort(error)) replace(content, failure(error, load));
    }
  }
  load();
}

/** @param {Api.Backup[]} backups */
function table(backups) {
  if (backups.length === 0) return empty(t("backups.none"), t("backups.none-text"));
  const row = (/** @type {Api.Backup} */ { name, size_bytes: size, created_at: createdAt }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", { class: "mono" }, name)),
      h("td", {}, when(createdAt, "time")),
      h("td", { class: "figure" }, bytes(size)),
      h("td", { class: "actions" }, h("a", { class: "button small", href: addressOf(`/api/backups/${encodeURIComponent(name)}`), download: name, "aria-label": `${t("action.download")}: ${name}` }, icon("download"), t("action.download"))),
    );
  const heads = /** @type {const} */ (["backups.name", "backups.at", "backups.size"]).map((name) => h("th", { scope: "col" }, t(name)));
  return h("table", { class: "plain" }, h("thead", {}, h("tr", {}, heads, h("td"))), h("tbody", {}, backups.map(row)));
}

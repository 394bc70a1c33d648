// The nodes: how each of them is, what it carries, and what can be done with it.
import { get, isAbort } from "../../api.js";
import { h, reconcile, replace, setText } from "../../dom.js";
import { failure, loading } from "../../errors.js";
import { t } from "../../i18n.js";
import { button, card, iconButton, title } from "../../parts.js";
import { may, on } from "../../store.js";
import { systemHead } from "../system/tabs.js";
import { addDialog } from "./dialogs.js";
import { makeRow, updateLive, updateRow } from "./row.js";

const REFRESH_MS = 10_000;

/** @param {Page.ViewContext} context */
export function nodesView({ main, signal }) {
  title(t("system.nodes"));
  const text = h("p", { class: "muted" });
  const list = h("ul", { class: "nodes", role: "list" });
  const content = h("div", {}, loading());
  const actions = [
    iconButton("refresh", t("action.refresh"), () => load()),
    may("admin") && button(t("nodes.new"), { kind: "primary", name: "plus", onclick: () => addDialog(load) }),
  ];
  replace(main, systemHead("#/system/nodes"), card(t("nodes.title"), { actions }, text, content));

  async function load() {
    try {
      const nodes = await get("/api/nodes", { signal });
      setText(text, t(nodes.length > 1 ? "nodes.text" : "nodes.alone"));
      reconcile(list, nodes, (node) => String(node.id), () => makeRow(load), (row, node) => updateRow(row, node, nodes.length > 1));
      if (!list.isConnected) replace(content, list);
    } catch (error) {
      if (!isAbort(error)) replace(content, failure(error, load));
    }
  }
  const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  on("keys health", load, signal);
  on(
    "traffic",
    () => {
      for (const row of list.children) updateLive(row);
    },
    signal,
  );
  load();
}

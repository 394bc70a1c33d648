// The dialogs that give a node's keys places elsewhere, and a node's place to a new machine.
import { get, post } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h } from "../../dom.js";
import { translated } from "../../errors.js";
import { field, select } from "../../form.js";
import { icon } from "../../icons.js";
import { t } from "../../i18n.js";
import { copy, download, fileName, named } from "../../parts.js";
import { nodeText } from "./choice.js";
import { commandDialog } from "./dialogs.js";

/**
 * Asks where the keys of a node go, and says what that means for their links.
 * @param {Api.Node} node
 * @param {() => Promise<void>} done
 */
export async function moveDialog(node, done) {
  const others = (await get("/api/nodes")).filter((one) => one.id !== node.id);
  const where = select([["", t("nodes.any-of", { group: node.group })], ...others.map(choice)], "");
  const isWaitedFor = node.state === "up" || node.state === "drained";
  openDialog({
    title: t("nodes.move"),
    body: [
      h("p", {}, named(node.name)),
      h("p", {}, t("nodes.move-text", { n: node.keys })),
      !isWaitedFor && h("p", {}, t("nodes.move-unheard")),
      field(t("nodes.where"), where),
    ],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("nodes.move-do", { n: node.keys }),
        run: async () => {
          const moved = await post(/** @type {`/api/nodes/${string}/move`} */ (`/api/nodes/${node.id}/move`), { to: where.value || null });
          await done();
          setTimeout(() => movedDialog(moved));
        },
      },
    ],
  });
}

/**
 * @param {Api.Node} node
 * @returns {Page.Choice}
 */
const choice = (node) => [node.name, nodeText(node)];

/**
 * Shows what became of the keys, and hands out their new links: every customer needs one.
 * @param {Api.NodeMoved} result
 */
function movedDialog({ node, moved, failed, has_stopped: hasStopped }) {
  const links = moved.map((one) => `${one.new.link}\n`).join("");
  const table = ["name,old link,new link", ...moved.map((one) => [one.name, one.old.link, one.new.link].map(quoted).join(","))];
  openDialog({
    title: t("nodes.moved", { n: moved.length }),
    wide: true,
    body: [
      moved.length > 0 && h("p", {}, t(hasStopped ? "nodes.moved-text" : "nodes.moved-later")),
      moved.length > 0 &&
        h(
          "div",
          { class: "row wrap" },
          h("button", { type: "button", class: "button", onclick: () => copy(links, t("copied")) }, icon("copy"), t("nodes.moved-copy")),
          h("button", { type: "button", class: "button", onclick: () => download(fileName(`moved-from-${node}`, "csv"), `${table.join("\n")}\n`) }, icon("download"), t("nodes.moved-csv")),
        ),
      moved.length > 0 && h("ul", { class: "findings" }, moved.map((one) => h("li", {}, named(one.name), ` → ${one.new.node}:${one.new.port}`))),
      failed.length > 0 && h("p", {}, t("nodes.not-moved", { n: failed.length })),
      failed.length > 0 && h("ul", { class: "findings" }, failed.map((one) => h("li", {}, named(one.name), ": ", translated(one.code) ?? h("span", { lang: "en" }, one.detail)))),
    ],
    actions: [{ label: t("action.close"), kind: "primary" }],
  });
}

/**
 * Returns a field of a CSV file. A name that begins like a formula would be carried out by a spreadsheet.
 * @param {string} text
 */
function quoted(text) {
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${plain.replaceAll('"', '""')}"`;
}

/**
 * Asks before a new machine may take the node's place.
 * @param {Api.Node} node
 * @param {() => Promise<void>} done
 */
export function replaceDialog(node, done) {
  openDialog({
    title: t("nodes.replace"),
    body: [h("p", {}, named(node.name)), h("p", {}, t("nodes.replace-text")), h("p", {}, t("nodes.replace-address", { address: node.address }))],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("nodes.replace-do"),
        run: async () => {
          const made = await post(/** @type {`/api/nodes/${string}/replace`} */ (`/api/nodes/${node.id}/replace`));
          await done();
          setTimeout(() => commandDialog(made, "nodes.replaced"));
        },
      },
    ],
  });
}

// The dialogs that add nodes, give them up and remove them.
import { patch, post, remove } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h, selectAll } from "../../dom.js";
import { wrong } from "../../errors.js";
import { field, numberInput, textInput } from "../../form.js";
import { icon } from "../../icons.js";
import { date, relative, t } from "../../i18n.js";
import { copy, named } from "../../parts.js";
import { toast } from "../../toast.js";

/** @param {Api.Node} node */
const pathOf = (node) => /** @type {`/api/nodes/${string}`} */ (`/api/nodes/${node.id}`);

/**
 * Lets a node get no new keys, or new ones again.
 * @param {Api.Node} node
 * @param {"up" | "drained"} state
 * @param {() => Promise<void>} done
 */
export async function changeState(node, state, done) {
  await patch(pathOf(node), { state });
  toast(t(state === "up" ? "nodes.up-done" : "nodes.drain-done", { name: isolated(node) }));
  await done();
}

/**
 * Returns the node's name within "first strong isolate" … "pop": it does not turn the text around it.
 * @param {Api.Node} node
 */
const isolated = (node) => `\u2068${node.name}\u2069`;

/** @param {() => Promise<void>} done */
export function addDialog(done) {
  const name = textInput({ maxlength: 64, required: true, placeholder: "fra-1" });
  const group = textInput({ maxlength: 64, value: "default" });
  const address = textInput({ maxlength: 253, inputmode: "url" });
  const ports = textInput({ maxlength: 11, placeholder: "10001-10100" });
  const most = numberInput({ min: 0, max: 65535, step: 1, inputmode: "numeric" });
  const weight = numberInput({ min: 0, max: 1000, step: 1, value: 1, inputmode: "numeric" });
  const more = h(
    "div",
    { class: "fields" },
    field(t("nodes.group"), group, { hint: t("nodes.group-hint") }),
    field(t("overview.address"), address, { hint: t("nodes.own-hint") }),
    h("div", { class: "field-row two" }, field(t("nodes.ports"), ports), field(t("nodes.most"), most)),
    field(t("nodes.weight"), weight, { hint: t("nodes.weight-hint") }),
  );
  openDialog({
    title: t("nodes.new"),
    body: [h("p", {}, t("nodes.new-text")), field(t("nodes.name"), name, { hint: t("nodes.name-hint") }), h("details", { class: "more" }, h("summary", {}, t("nodes.more")), more)],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("nodes.make"),
        run: async () => {
          if (!name.value.trim()) throw wrong(t("nodes.name-wrong"), name);
          const made = await post("/api/nodes", {
            name: name.value.trim(),
            group: group.value.trim() || "default",
            address: address.value.trim(),
            port_range: ports.value.trim() || null,
            max_keys: whole(most),
            weight: whole(weight) ?? 1,
          });
          await done();
          setTimeout(() => commandDialog(made));
        },
      },
    ],
  });
  name.focus();
}

/**
 * Returns the whole number in the field, or null where it is empty.
 * @param {HTMLInputElement} input
 */
function whole(input) {
  if (input.value === "" && !input.validity.badInput) return null;
  const value = Number(input.value);
  if (!Number.isInteger(value) || value < 0) throw wrong(t("nodes.number-wrong"), input);
  return value;
}

/**
 * Shows the command by which a machine becomes the node: once, as its token is in it.
 * @param {Api.NodeMade} made
 * @param {"nodes.made" | "nodes.replaced"} heading
 */
export function commandDialog({ node, join_command: bare, expires_at: expiresAt }, heading = "nodes.made") {
  // As `vpnkeys nodes add` prints it: the whole set-up, services and all.
  const command = bare.replace("vpnkeys agent join", "sudo ./run --agent-join");
  const shown = h("textarea", { class: "mono", readOnly: true, rows: 8, spellcheck: "false", "aria-label": t("nodes.command"), onfocus: selectAll, value: command });
  openDialog({
    title: t(heading, { name: isolated(node) }),
    wide: true,
    body: [
      h("p", {}, t("nodes.command-text")),
      shown,
      h("div", { class: "row wrap" }, h("button", { type: "button", class: "button", onclick: () => copy(command, t("copied")) }, icon("copy"), t("nodes.command-copy"))),
      h("p", {}, t("nodes.command-until", { time: date(expiresAt, "clock"), when: relative(expiresAt) })),
    ],
    actions: [{ label: t("secret.kept"), kind: "primary" }],
  });
}

/**
 * Asks before a node is given up.
 * @param {Api.Node} node
 * @param {() => Promise<void>} done
 */
export function lostDialog(node, done) {
  openDialog({
    title: t("nodes.lost"),
    body: [h("p", {}, named(node.name)), h("p", {}, t("nodes.lost-text")), node.keys > 0 && h("p", {}, t("nodes.lost-keys", { n: node.keys }))],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("nodes.lost-do"),
        kind: "danger-solid",
        run: async () => {
          await patch(pathOf(node), { state: "lost" });
          toast(t("nodes.lost-done", { name: isolated(node) }));
          await done();
        },
      },
    ],
  });
}

/**
 * Asks before a node is removed, and says what becomes of its keys. One that has keys is not removed before it is lost.
 * @param {Api.Node} node
 * @param {() => Promise<void>} done
 */
export function removeDialog(node, done) {
  const isKept = node.keys > 0 && node.state !== "lost";
  const text = isKept ? t("nodes.remove-has-keys", { n: node.keys }) : node.keys > 0 ? t("nodes.remove-keys", { n: node.keys }) : t("nodes.remove-empty");
  const cancel = { label: t(isKept ? "action.close" : "action.cancel") };
  const removing = {
    label: node.keys > 0 ? t("nodes.remove-do-keys", { n: node.keys }) : t("nodes.remove-do"),
    kind: "danger-solid",
    run: async () => {
      await remove(pathOf(node));
      toast(t("nodes.removed", { name: isolated(node) }));
      await done();
    },
  };
  openDialog({ title: t("nodes.remove"), body: [h("p", {}, named(node.name)), h("p", {}, text)], actions: isKept ? [cancel] : [cancel, removing] });
}

// What the list of keys and the view of one key let the user do.
import { addressOf, get, keyPath, patch, post, remove } from "./api.js";
import { h, selectAll } from "./dom.js";
import { openDialog } from "./dialog.js";
import { field, numberInput } from "./form.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { wrong } from "./errors.js";
import { copy, download, fileName, named } from "./parts.js";
import { dropKeys, emit, may, putKey, state } from "./store.js";
import { subscriptionPart } from "./views/keys/subscription.js";
import { isEndless, isWaiting } from "./views/keys/term.js";
import { toast, undoable } from "./toast.js";

/**
 * Returns the key's link.
 * @param {Api.Key} key
 */
export const linkOf = async (key) => (await get(keyPath(key.id, "/config"))).vless_url;

/** @param {Api.Key} key */
export const copyLink = async (key) => copy(await linkOf(key), t("link.copied"));

/**
 * Enables or disables a key.
 * @param {Api.Key} key
 * @param {boolean} isActive
 */
export async function switchKey(key, isActive) {
  putKey(await patch(keyPath(key.id), { is_active: isActive }));
  toast(t(isActive ? "key.enabled" : "key.disabled"));
}

/**
 * Enables or disables the keys, one after the other.
 * @param {Api.Key[]} keys
 * @param {boolean} isActive
 */
export async function switchMany(keys, isActive) {
  for (const key of keys) putKey(await patch(keyPath(key.id), { is_active: isActive }));
  toast(t(isActive ? "bulk.enabled" : "bulk.disabled", { n: keys.length }));
}

/**
 * Hides the keys at once, and deletes them when the time to undo it is over.
 * @param {Api.Key[]} keys
 */
export function deleteKeys(keys) {
  const ids = keys.map((key) => key.id);
  ids.forEach((id) => state.leaving.add(id));
  emit("keys");
  const showAgain = () => {
    ids.forEach((id) => state.leaving.delete(id));
    emit("keys");
  };
  undoable({
    words: () => ({
      text: keys.length === 1 ? t("delete.one", { name: shorten(keys[0].name) }) : t("delete.many", { n: keys.length }),
      now: t("delete.now"),
      done: keys.length === 1 ? t("delete.done", { name: shorten(keys[0].name) }) : t("delete.done-many", { n: keys.length }),
    }),
    undo: showAgain,
    run: async ({ keepalive }) => {
      if (ids.length === 1) await remove(keyPath(ids[0]), { keepalive });
      else await post("/api/keys/bulk/delete", { ids }, { keepalive });
      dropKeys(ids);
      showAgain();
    },
  });
}

/**
 * Returns the name within "first strong isolate" … "pop": a right-to-left name does not turn the text around it.
 * @param {string} name
 */
const shorten = (name) => `\u2068${name.length > 40 ? `${name.slice(0, 39)}…` : name}\u2069`;

/** @param {Api.Key[]} keys */
export function extendDialog(keys) {
  const days = numberInput({ value: 30, min: 1, max: 3650, step: 1, inputmode: "numeric" });
  const waiting = keys.filter(isWaiting).length;
  const endless = keys.filter(isEndless).length;
  const take = (/** @type {number} */ n) => {
    days.value = String(n);
    days.dispatchEvent(new Event("input")); // the unit follows
  };
  openDialog({
    title: t("extend.title", { n: keys.length }),
    body: [
      h("div", { class: "presets" }, [7, 30, 90, 365].map((n) => h("button", { type: "button", class: "button small", onclick: () => take(n) }, t("extend.days", { n })))),
      field(t("extend.by"), days, { unit: (n) => t("extend.unit", { n }) }),
      waiting > 0 && h("p", { class: "hint" }, t("extend.waiting", { n: waiting })),
      endless > 0 && h("p", { class: "hint" }, t("extend.endless", { n: endless })),
    ],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("extend.do"),
        run: async () => {
          const n = Number(days.value);
          if (!Number.isInteger(n) || n < 1 || n > 3650) throw wrong(t("extend.wrong"), days);
          const changed = await post("/api/keys/bulk/extend", { ids: keys.map((key) => key.id), days: n });
          changed.forEach(putKey);
          toast(t("extend.done", { n: changed.length }));
        },
      },
    ],
  });
}

/**
 * Asks what of the key's link to renew, and renews it.
 * @param {Api.Key} key
 */
export function rotateDialog(key) {
  const part = (/** @type {"uuid" | "short_id" | "sni"} */ name, /** @type {boolean} */ checked) => ({ name, box: h("input", { type: "checkbox", checked }) });
  const parts = [part("uuid", true), part("short_id", true), part("sni", false)];
  openDialog({
    title: t("rotate.title"),
    body: [
      h("p", {}, named(key.name)),
      h("p", {}, t("rotate.text")),
      h("div", { class: "stack" }, parts.map(({ name, box }) => h("label", { class: "check" }, box, t(`rotate.${name}`)))),
    ],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("rotate.do"),
        run: async () => {
          if (!parts.some(({ box }) => box.checked)) throw wrong(t("rotate.wrong"), parts[0].box);
          const [uuid, short_id, sni] = parts.map(({ box }) => box.checked);
          const { key: renewed } = await post(keyPath(key.id, "/rotate"), { uuid, short_id, sni });
          putKey(renewed);
          toast(t("rotate.done"));
        },
      },
    ],
  });
}

/**
 * Returns the links of all keys, each on its line.
 * @param {Api.Key[]} keys
 */
async function linksOf(keys) {
  const links = [];
  for (const key of keys) links.push(await linkOf(key));
  return `${links.join("\n")}\n`;
}

/** @param {Api.Key[]} keys */
export const copyLinks = async (keys) => copy(await linksOf(keys), t("bulk.copied", { n: keys.length }));
/** @param {Api.Key[]} keys */
export const downloadLinks = async (keys) => download("vpn-links.txt", await linksOf(keys));

/**
 * Shows a key's link: for the customer's camera, to copy, and the address of its subscription.
 * @param {Api.Key} key
 */
export async function linkDialog(key) {
  const link = await linkOf(key);
  const body = [linkBody(key, link), may("keys") && subscriptionPart(key.id)];
  openDialog({ title: t("link.of", { name: shorten(key.name) }), wide: true, body, actions: [{ label: t("action.close"), kind: "plain" }] });
}

let pictures = 0;

/**
 * Returns the link of a key as text and QR code.
 * @param {Api.Key} key
 * @param {string} link
 */
export function linkBody(key, link) {
  return h(
    "div",
    { class: "link" },
    // An address of its own each time: browsers show an image that they have seen on this page without asking again.
    h("img", { class: "qr", src: `${addressOf(keyPath(key.id, "/qr.svg"))}?shown=${++pictures}`, alt: t("link.qr"), width: 220, height: 220 }),
    h(
      "div",
      { class: "link-words" },
      h("textarea", { class: "mono", readOnly: true, rows: 7, "aria-label": t("link.text"), spellcheck: "false", onfocus: selectAll, value: link }),
      h(
        "div",
        { class: "row wrap" },
        h("button", { type: "button", class: "button primary", onclick: () => copy(link, t("link.copied")) }, icon("copy"), t("link.copy")),
        h("button", { type: "button", class: "button", onclick: () => download(fileName(key.name, "txt"), `${link}\n`) }, icon("download"), t("link.download")),
        h("a", { class: "button", href: addressOf(keyPath(key.id, "/qr.svg")), download: fileName(key.name, "svg") }, icon("qr"), t("link.download-qr")),
      ),
    ),
  );
}

/**
 * Asks before the key's traffic is counted from zero.
 * @param {Api.Key} key
 */
export function resetTraffic(key) {
  openDialog({
    title: t("reset.title"),
    body: [h("p", {}, named(key.name)), h("p", {}, t("reset.text"))],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("reset.do"),
        run: async () => {
          await post(keyPath(key.id, "/traffic/reset"));
          toast(t("reset.done"));
        },
      },
    ],
  });
}

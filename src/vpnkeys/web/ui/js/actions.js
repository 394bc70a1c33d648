// What can be done with keys, wherever they are shown.
import { get, keyPath, patch, post, remove } from "./api.js";
import { h } from "./dom.js";
import { openDialog } from "./dialog.js";
import { field, numberInput } from "./form.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { wrong } from "./errors.js";
import { copy, download, fileName, named } from "./parts.js";
import { dropKeys, keyOf, may, putKey, state, tell } from "./store.js";
import { toast, undoable } from "./toast.js";

export const linkOf = async (key) => (await get(keyPath(key.id, "/config"))).vless_url;

export const copyLink = async (key) => copy(await linkOf(key), t("link.copied"));

export async function switchKey(key, isActive) {
  putKey(await patch(keyPath(key.id), { is_active: isActive }));
  toast(t(isActive ? "key.enabled" : "key.disabled"));
}

export async function switchMany(keys, isActive) {
  for (const key of keys) putKey(await patch(keyPath(key.id), { is_active: isActive }));
  toast(t(isActive ? "bulk.enabled" : "bulk.disabled", { n: keys.length }));
}

// The keys are out of sight at once, and gone when the time for saying stop is over.
export function deleteKeys(keys) {
  const ids = keys.map((key) => key.id);
  ids.forEach((id) => state.leaving.add(id));
  tell("keys");
  const come = () => {
    ids.forEach((id) => state.leaving.delete(id));
    tell("keys");
  };
  undoable({
    text: keys.length === 1 ? t("delete.one", { name: shorten(keys[0].name) }) : t("delete.many", { n: keys.length }),
    undo: come,
    run: async ({ keepalive }) => {
      if (ids.length === 1) await remove(keyPath(ids[0]), { keepalive });
      else await post("/api/keys/bulk/delete", { ids }, { keepalive });
      dropKeys(ids);
      come();
    },
  });
}

// First strong isolate … pop: a name that turns the reading direction turns nothing but itself.
const shorten = (name) => `\u2068${name.length > 40 ? `${name.slice(0, 39)}…` : name}\u2069`;

export function extendDialog(keys) {
  const days = numberInput({ value: 30, min: 1, max: 3650, step: 1, inputmode: "numeric" });
  const endless = keys.filter((key) => !key.expires_at).length;
  openDialog({
    title: t("extend.title", { n: keys.length }),
    body: [
      h("div", { class: "presets" }, [7, 30, 90, 365].map((n) => h("button", { type: "button", class: "button small", onclick: () => (days.value = n) }, t("extend.days", { n })))),
      field(t("extend.by"), days, { unit: t("extend.unit") }),
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

export async function linksOf(keys) {
  const links = [];
  for (const key of keys) links.push(await linkOf(key));
  return `${links.join("\n")}\n`;
}

export const copyLinks = async (keys) => copy(await linksOf(keys), t("bulk.copied", { n: keys.length }));
export const downloadLinks = async (keys) => download("vpn-links.txt", await linksOf(keys));

export async function linkDialog(key) {
  const link = await linkOf(key);
  openDialog({ title: t("link.title"), wide: true, body: linkBody(key, link), actions: [{ label: t("action.close") }] });
}

export function linkBody(key, link) {
  return h(
    "div",
    { class: "link" },
    h("img", { class: "qr", src: keyPath(key.id, "/qr.svg"), alt: t("link.qr"), width: 220, height: 220 }),
    h(
      "div",
      { class: "link-words" },
      h("p", {}, named(key.name)),
      h("textarea", { class: "mono", readOnly: true, rows: 7, "aria-label": t("link.text"), spellcheck: "false", onfocus: (event) => event.target.select(), value: link }),
      h(
        "div",
        { class: "row wrap" },
        h("button", { type: "button", class: "button primary", onclick: () => copy(link, t("link.copied")) }, icon("copy"), t("link.copy")),
        h("button", { type: "button", class: "button", onclick: () => download(fileName(key.name, "txt"), `${link}\n`) }, icon("download"), t("link.download")),
        h("a", { class: "button", href: keyPath(key.id, "/qr.svg"), download: fileName(key.name, "svg") }, icon("qr"), t("link.download-qr")),
      ),
    ),
  );
}

export async function resetTraffic(key) {
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

export const mayChange = () => may("keys");
export const known = (id) => keyOf(id);

// One key in the list. Its row is made once and updated as long as the key is shown.
import { copyLink, deleteKeys, linkDialog, switchKey } from "../../actions.js";
import { h, replace, setText } from "../../dom.js";
import { number, rate, t } from "../../i18n.js";
import { badge, iconButton, named, setBadge, usageBar } from "../../parts.js";
import { hasNodes, keyOf, may, usageOf, usedBy } from "../../store.js";
import { editDialog } from "./form.js";
import { ending } from "./term.js";

/**
 * The elements of a row that change.
 * @typedef {object} Part
 * @property {HTMLInputElement} pick
 * @property {HTMLElement} link
 * @property {HTMLElement} note
 * @property {HTMLElement} badge
 * @property {HTMLElement} rate
 * @property {HTMLElement} devices
 * @property {Page.UsageBar} usage
 * @property {HTMLElement} expires
 * @property {HTMLElement} port
 * @property {HTMLElement} copy
 * @property {HTMLElement} show
 * @property {ReturnType<typeof changingButtons> | null} changing the buttons that the session's scope may not allow
 * @property {Api.Key | null} drawn the key as the row shows it
 */

/** @type {WeakMap<Element, Part>} */
const parts = new WeakMap();

/** @param {() => Api.Key} now */
const changingButtons = (now) => ({
  edit: iconButton("edit", "", () => editDialog(now())),
  power: iconButton("power", "", () => switchKey(now(), !now().is_active)),
  trash: iconButton("trash", "", () => deleteKeys([now()]), { class: "icon-button danger" }),
});

/**
 * Returns the row of a key, without the values that change.
 * @param {Api.Key} key
 * @param {(key: Api.Key, isChosen: boolean) => void} choose
 */
export function makeRow(key, choose) {
  const id = key.id;
  const now = () => keyOf(id) ?? key;
  /** @type {Part} */
  const part = {
    pick: h("input", { type: "checkbox", onchange: () => choose(now(), part.pick.checked) }),
    link: h("a", { href: `#/keys/${encodeURIComponent(id)}` }),
    note: h("span", { class: "note" }),
    badge: badge(key.status),
    rate: h("span", { class: "rate" }),
    devices: h("span", { class: "devices" }),
    usage: usageBar(),
    expires: h("span"),
    port: h("span", { class: "mono" }),
    copy: iconButton("copy", "", () => copyLink(now())),
    show: iconButton("qr", "", () => linkDialog(now())),
    changing: may("keys") ? changingButtons(now) : null,
    drawn: null,
  };
  /**
   * On a narrow screen the label stands beside the value, in place of the column's head.
   * @param {"status" | "live" | "devices" | "used" | "expires" | "port"} column
   * @param {...Page.Child} content
   */
  const cell = (column, ...content) => h("td", { role: "cell", class: `c-${column}`, data: { label: t(`column.${column}`) } }, content);
  const row = h(
    "tr",
    { role: "row" },
    h("td", { role: "cell", class: "pick", data: { label: "" } }, part.pick),
    h("th", { role: "rowheader", scope: "row", class: "c-name" }, part.link, part.note),
    cell("status", part.badge),
    cell("live", part.rate),
    cell("devices", part.devices),
    cell("used", part.usage),
    cell("expires", part.expires),
    cell("port", part.port),
    h("td", { role: "cell", class: "actions", data: { label: "" } }, h("div", { class: "row" }, part.copy, part.show, part.changing && Object.values(part.changing))),
  );
  parts.set(row, part);
  return row;
}

/**
 * Sets everything that differs from what the row shows.
 * @param {Element} row
 * @param {Api.Key} key
 * @param {boolean} isChosen
 */
export function updateRow(row, key, isChosen) {
  const part = parts.get(row);
  if (!part) return;
  part.pick.checked = isChosen;
  if (part.drawn !== key) {
    part.drawn = key;
    label(part, key);
    setText(part.note, [hasNodes() && key.node, key.note.split("\n")[0]].filter(Boolean).join(" · "));
    part.note.hidden = !part.note.textContent;
    setBadge(part.badge, key.status);
    setText(part.port, String(key.port));
    row.classList.toggle("off", key.status !== "active");
  }
  replace(part.expires, ending(key));
  updateLive(row);
}

/**
 * Puts the key's name into the label of every button: a list of "Copy" has no meaning for a screen reader.
 * @param {Part} part
 * @param {Api.Key} key
 */
function label(part, key) {
  replace(part.link, named(key.name));
  part.pick.setAttribute("aria-label", t("keys.choose", { name: key.name }));
  const name = (/** @type {HTMLElement} */ element, /** @type {string} */ text) => {
    element.setAttribute("aria-label", `${text}: ${key.name}`);
    element.title = text;
  };
  name(part.copy, t("link.copy"));
  name(part.show, t("link.show"));
  if (!part.changing) return;
  name(part.changing.edit, t("key.edit"));
  name(part.changing.power, t(key.is_active ? "key.disable" : "key.enable"));
  name(part.changing.trash, t("key.delete"));
}

/**
 * Sets what changes with every sample of the traffic.
 * @param {Element} row
 */
export function updateLive(row) {
  const part = parts.get(row);
  const key = part?.drawn;
  if (!part || !key) return;
  const usage = usageOf(key.id);
  setText(part.rate, usage.rate > 0 ? rate(usage.rate) : "—");
  row.classList.toggle("moving", usage.rate > 0);
  setText(part.devices, devices(usage.devices, key.max_devices));
  part.devices.classList.toggle("online", (usage.devices ?? 0) > 0);
  part.usage.show(usedBy(key), key.traffic_limit_bytes);
}

/**
 * @param {number | null} online
 * @param {number | null} most
 */
function devices(online, most) {
  if (online === null) return "?";
  if (most) return t("devices.of", { n: online, most });
  return online > 0 ? number(online) : "—";
}

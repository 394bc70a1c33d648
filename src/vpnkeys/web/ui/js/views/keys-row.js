// One key in the list. A row is made once and lives as long as its key is in sight.
import { copyLink, deleteKeys, linkDialog, switchKey } from "../actions.js";
import { h, replace, setText } from "../dom.js";
import { number, rate, t } from "../i18n.js";
import { badge, iconButton, named, setBadge, sparkline, usageBar, when } from "../parts.js";
import { keyOf, may, usageOf } from "../store.js";
import { editDialog } from "./key-form.js";

const parts = new WeakMap();

export function makeRow(key, choose) {
  const id = key.id;
  const now = () => keyOf(id);
  const part = {
    pick: h("input", { type: "checkbox", onchange: () => choose(now(), part.pick.checked) }),
    link: h("a", { href: `#/keys/${encodeURIComponent(id)}` }),
    note: h("span", { class: "note" }),
    badge: badge(key.status),
    spark: sparkline(),
    rate: h("span", { class: "rate" }),
    devices: h("span", { class: "devices" }),
    usage: usageBar(),
    expires: h("span"),
    port: h("span", { class: "mono" }),
    power: null,
    deeds: [],
  };
  part.copy = iconButton("copy", "", () => copyLink(now()));
  part.show = iconButton("qr", "", () => linkDialog(now()));
  const deeds = [part.copy, part.show];
  if (may("keys")) {
    part.edit = iconButton("edit", "", () => editDialog(now()));
    part.power = iconButton("power", "", () => switchKey(now(), !now().is_active));
    part.trash = iconButton("trash", "", () => deleteKeys([now()]), { class: "icon-button danger" });
    deeds.push(part.edit, part.power, part.trash);
  }
  const cell = (name, ...content) => h("td", { role: "cell", class: name, data: { label: name.startsWith("c-") ? t(`column.${name.slice(2)}`) : "" } }, content);
  const row = h(
    "tr",
    { role: "row" },
    cell("pick", part.pick),
    h("th", { role: "rowheader", scope: "row", class: "c-name" }, part.link, part.note),
    cell("c-status", part.badge),
    cell("c-live", part.spark, part.rate),
    cell("c-devices", part.devices),
    cell("c-used", part.usage),
    cell("c-expires", part.expires),
    cell("c-port", part.port),
    cell("deeds", h("div", { class: "row" }, deeds)),
  );
  parts.set(row, part);
  return row;
}

export function updateRow(row, key, isChosen) {
  const part = parts.get(row);
  part.pick.checked = isChosen;
  if (part.told !== key) {
    part.told = key;
    label(part, key);
    setText(part.note, key.note.split("\n")[0]);
    part.note.hidden = !key.note;
    setBadge(part.badge, key.status);
    setText(part.port, String(key.port));
    row.classList.toggle("off", key.status !== "active");
  }
  replace(part.expires, key.expires_at ? when(key.expires_at) : h("span", { class: "muted" }, t("limits.never")));
  updateLive(row);
}

// Every button says whose it is: a list of "Copy" tells a screen reader nothing.
function label(part, key) {
  replace(part.link, named(key.name));
  part.pick.setAttribute("aria-label", t("keys.choose", { name: key.name }));
  const tell = (element, text) => {
    element?.setAttribute("aria-label", `${text}: ${key.name}`);
    if (element) element.title = text;
  };
  tell(part.copy, t("link.copy"));
  tell(part.show, t("link.show"));
  tell(part.edit, t("key.edit"));
  tell(part.power, t(key.is_active ? "key.disable" : "key.enable"));
  tell(part.trash, t("key.delete"));
}

export function updateLive(row) {
  const part = parts.get(row);
  const key = part.told;
  const usage = usageOf(key.id);
  part.spark.show(usage.rates);
  setText(part.rate, usage.rate > 0 ? rate(usage.rate) : "—");
  row.classList.toggle("moving", usage.rate > 0);
  setText(part.devices, devices(usage.devices, key.max_devices));
  part.devices.classList.toggle("online", usage.devices > 0);
  part.usage.show(usage.total, key.traffic_limit_window === "total" ? key.traffic_limit_bytes : null);
}

function devices(online, most) {
  if (online === null) return "?";
  if (most) return t("devices.of", { n: online, most });
  return online > 0 ? number(online) : "—";
}

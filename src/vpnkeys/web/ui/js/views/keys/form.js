// The dialogs that make keys and change one: name, note and limits.
import { keyPath, patch, post } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h, replace } from "../../dom.js";
import { wrong } from "../../errors.js";
import { field, fromLocalInput, numberInput, select, textInput, toLocalInput } from "../../form.js";
import { t } from "../../i18n.js";
import { putKey } from "../../store.js";
import { toast } from "../../toast.js";
import { linkDialog } from "../../actions.js";

/** @type {[size: string, name: "MB" | "GB" | "TB"][]} */
const UNITS = [
  ["1000000", "MB"],
  ["1000000000", "GB"],
  ["1000000000000", "TB"],
];
/** @type {Api.Window[]} */
const WINDOWS = ["total", "day", "week", "month"];

/**
 * The inputs of the limits.
 * @typedef {object} LimitInputs
 * @property {HTMLInputElement} expires
 * @property {HTMLInputElement} traffic
 * @property {HTMLSelectElement} unit
 * @property {HTMLSelectElement} window
 * @property {HTMLInputElement} devices
 * @property {HTMLInputElement} speed
 */

/**
 * Returns the fields for the limits of a key, or of a new one, and a function that reads them.
 * @param {Api.Key | null} key
 */
function limitFields(key) {
  const limit = key?.traffic_limit_bytes;
  const unit = limit ? (UNITS.findLast(([size]) => limit >= Number(size)) ?? UNITS[0])[0] : "1000000000";
  const inputs = {
    expires: h("input", { type: "datetime-local", value: toLocalInput(key?.expires_at) }),
    traffic: numberInput({ value: limit ? limit / Number(unit) : "" }),
    unit: select(UNITS.map(([size, name]) => /** @type {const} */ ([size, t(`unit.${name}`)])), unit, { "aria-label": t("limits.unit") }),
    window: select(WINDOWS.map((name) => /** @type {const} */ ([name, t(`window.${name}`)])), key?.traffic_limit_window ?? "total", { "aria-label": t("limits.window") }),
    devices: numberInput({ value: key?.max_devices ?? "", step: 1, min: 1, max: 1000, inputmode: "numeric" }),
    speed: numberInput({ value: key?.speed_limit_mbps ?? "", step: 1, min: 1, max: 100000, inputmode: "numeric" }),
  };
  const later = (/** @type {number} */ days) => (inputs.expires.value = toLocalInput(new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 19)));
  const preset = (/** @type {number} */ n) => h("button", { type: "button", class: "button small", onclick: () => later(n) }, t("limits.plus", { n }));
  const never = h("button", { type: "button", class: "button small", onclick: () => (inputs.expires.value = "") }, t("limits.never"));
  const element = h(
    "div",
    { class: "fields" },
    field(t("limits.expires"), inputs.expires),
    h("div", { class: "presets" }, [30, 90, 365].map(preset), never),
    h("div", { class: "field-row" }, field(t("limits.traffic"), inputs.traffic, { after: [inputs.unit, inputs.window] })),
    h(
      "div",
      { class: "field-row two" },
      field(t("limits.devices"), inputs.devices),
      field(t("limits.speed"), inputs.speed, { unit: t("unit.Mbps") }),
    ),
    h("p", { class: "hint" }, t("limits.hint")),
  );
  return { element, read: () => readLimits(inputs) };
}

/** @param {LimitInputs} inputs */
function readLimits(inputs) {
  const traffic = positive(inputs.traffic);
  return {
    expires_at: fromLocalInput(inputs.expires.value),
    traffic_limit_bytes: traffic === null ? null : Math.max(1, Math.round(traffic * Number(inputs.unit.value))),
    traffic_limit_window: WINDOWS[inputs.window.selectedIndex],
    max_devices: positive(inputs.devices),
    speed_limit_mbps: positive(inputs.speed),
  };
}

/**
 * Returns the number in the field, or null where it is empty.
 * @param {HTMLInputElement} input
 */
function positive(input) {
  if (input.value === "" && !input.validity.badInput) return null;
  const value = Number(input.value);
  if (!(value > 0)) throw wrong(t("limits.wrong"), input);
  return value;
}

export function createDialog() {
  const one = textInput({ maxlength: 128, required: true, dir: "auto" });
  const many = h("textarea", { rows: 6, spellcheck: "false", dir: "auto" });
  const note = h("textarea", { rows: 2, maxlength: 1000, dir: "auto" });
  const limits = limitFields(null);
  const several = h("input", { type: "checkbox", onchange: draw });
  const names = h("div");
  function draw() {
    replace(names, several.checked ? field(t("create.names"), many, { hint: t("create.names-hint") }) : field(t("key.name"), one));
    (several.checked ? many : one).focus();
  }
  const dialog = openDialog({
    title: t("create.title"),
    body: [
      names,
      h("label", { class: "check" }, several, t("create.several")),
      field(t("key.note"), note, { hint: t("key.note-hint") }),
      h("details", { class: "more" }, h("summary", {}, t("limits.title")), limits.element),
    ],
    actions: [{ label: t("action.cancel") }, { label: t("create.do"), icon: "plus", run: () => make() }],
  });
  draw();

  async function make() {
    const lines = (several.checked ? many.value.split("\n") : [one.value]).map((line) => line.trim()).filter(Boolean);
    if (lines.length === 0) throw wrong(t("key.name-wrong"), several.checked ? many : one);
    const shared = { note: note.value, ...limits.read() };
    if (several.checked) return makeMany(lines.map((name) => ({ name, ...shared })));
    const key = await post("/api/keys", { name: lines[0], ...shared });
    putKey(key);
    toast(t("create.done"));
    dialog.close();
    await linkDialog(key);
    return undefined;
  }

  /** @param {Api.NewKey[]} keys */
  async function makeMany(keys) {
    const made = await post("/api/keys/bulk", { keys });
    made.forEach(putKey);
    toast(t("create.done-many", { n: made.length }));
  }
}

/** @param {Api.Key} key */
export function editDialog(key) {
  const name = textInput({ maxlength: 128, required: true, dir: "auto", value: key.name });
  const note = h("textarea", { rows: 3, maxlength: 1000, dir: "auto", value: key.note });
  const limits = limitFields(key);
  openDialog({
    title: t("edit.title"),
    body: [
      field(t("key.name"), name),
      field(t("key.note"), note, { hint: t("key.note-hint") }),
      h("h3", { class: "dialog-section" }, t("limits.title")),
      limits.element,
    ],
    actions: [{ label: t("action.cancel") }, { label: t("action.save"), run: () => save() }],
  });
  name.select();

  async function save() {
    if (!name.value.trim()) throw wrong(t("key.name-wrong"), name);
    const wanted = { name: name.value.trim(), note: note.value, ...limits.read() };
    // The field holds whole minutes: an expiry that was not changed keeps its seconds.
    if (toLocalInput(wanted.expires_at) === toLocalInput(key.expires_at)) wanted.expires_at = key.expires_at;
    /** @type {Record<string, unknown>} */
    const before = { ...key };
    const changed = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => value !== before[name]));
    if (Object.keys(changed).length === 0) return;
    putKey(await patch(keyPath(key.id), changed));
    toast(t("edit.done"));
  }
}

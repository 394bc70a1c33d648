// The dialogs that make keys and change one: name, note and limits.
import { keyPath, patch, post } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h, replace } from "../../dom.js";
import { wrong } from "../../errors.js";
import { field, fromLocalInput, numberInput, select, textInput, toLocalInput } from "../../form.js";
import { has, t } from "../../i18n.js";
import { putKey } from "../../store.js";
import { toast } from "../../toast.js";
import { linkDialog } from "../../actions.js";
import { nodeChoice } from "../nodes/choice.js";
import { isWaiting } from "./term.js";

/** @type {[size: string, name: "MB" | "GB" | "TB"][]} */
const UNITS = [
  ["1000000", "MB"],
  ["1000000000", "GB"],
  ["1000000000000", "TB"],
];
/** @type {[window: Api.Window, label: Page.MessageName][]} */
const WINDOWS = [
  ["total", "window.total"],
  ["day", "window.day"],
  ["week", "window.week"],
  ["month", "window.month"],
  ["month@", "window.month-from"],
  ["d", "window.days"],
];
/** @type {[size: string, name: Page.MessageName][]} */
const TERM_UNITS = [
  ["86400", "unit.days"],
  ["3600", "unit.hours"],
];
/** @type {NonNullable<Api.Fingerprint>[]} */
const FINGERPRINTS = ["chrome", "firefox", "safari", "edge", "ios", "random", "randomized", "qq"];

/**
 * The inputs of the limits.
 * @typedef {object} LimitInputs
 * @property {HTMLInputElement} expires
 * @property {HTMLInputElement} traffic
 * @property {HTMLSelectElement} unit
 * @property {HTMLInputElement} after
 * @property {HTMLSelectElement} afterUnit
 * @property {HTMLSelectElement} window
 * @property {HTMLInputElement} count
 * @property {HTMLInputElement} devices
 * @property {HTMLInputElement} speed
 * @property {HTMLSelectElement} fingerprint
 */

/**
 * Returns the fields for the limits of a key, or of a new one, and a function that reads them.
 * @param {Api.Key | null} key
 */
function limitFields(key) {
  const limit = key?.traffic_limit_bytes;
  const unit = limit ? (UNITS.findLast(([size]) => limit >= Number(size)) ?? UNITS[0])[0] : "1000000000";
  const own = key?.traffic_limit_window ?? "total";
  const waits = key !== null && isWaiting(key) ? key.expires_after_s : null;
  const afterUnit = waits && waits % Number(TERM_UNITS[0][0]) > 0 ? TERM_UNITS[1][0] : TERM_UNITS[0][0];
  const inputs = {
    expires: h("input", { type: "datetime-local", value: toLocalInput(key?.expires_at) }),
    after: numberInput({ value: waits ? waits / Number(afterUnit) : "", min: 0 }),
    afterUnit: select(TERM_UNITS.map(([size, name]) => /** @type {const} */ ([size, t(name)])), afterUnit, { "aria-label": t("limits.after-unit") }),
    traffic: numberInput({ value: limit ? limit / Number(unit) : "" }),
    unit: select(UNITS.map(([size, name]) => /** @type {const} */ ([size, t(`unit.${name}`)])), unit, { "aria-label": t("limits.unit") }),
    window: select(WINDOWS.map(([name, label]) => /** @type {const} */ ([name, t(label)])), own.replace(/\d+/, ""), { "aria-label": t("limits.window") }),
    count: numberInput({ value: /\d+/.exec(own)?.[0] ?? "", step: 1, min: 1, max: 90, inputmode: "numeric", "aria-label": t("limits.count") }),
    devices: numberInput({ value: key?.max_devices ?? "", step: 1, min: 1, max: 1000, inputmode: "numeric" }),
    speed: numberInput({ value: key?.speed_limit_mbps ?? "", step: 1, min: 1, max: 100000, inputmode: "numeric" }),
    fingerprint: select([["", t("fingerprint.server")], ...FINGERPRINTS.map((name) => /** @type {const} */ ([name, fingerprintName(name)]))], key?.fingerprint ?? ""),
  };
  const later = (/** @type {number} */ days) => (inputs.expires.value = toLocalInput(new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 19)));
  const preset = (/** @type {number} */ n) => h("button", { type: "button", class: "button small", onclick: () => later(n) }, t("limits.plus", { n }));
  const never = h("button", { type: "button", class: "button small", onclick: () => (inputs.expires.value = "") }, t("limits.never"));
  const draw = () => (inputs.count.hidden = !["month@", "d"].includes(inputs.window.value));
  inputs.window.addEventListener("change", draw);
  draw();
  const element = h(
    "div",
    { class: "fields" },
    field(t("limits.expires"), inputs.expires),
    field(t("limits.after"), inputs.after, { after: inputs.afterUnit, hint: t("limits.after-hint") }),
    h("div", { class: "presets" }, [30, 90, 365].map(preset), never),
    h("div", { class: "field-row" }, field(t("limits.traffic"), inputs.traffic, { after: [inputs.unit, inputs.window, inputs.count] })),
    h(
      "div",
      { class: "field-row two" },
      field(t("limits.devices"), inputs.devices),
      field(t("limits.speed"), inputs.speed, { unit: t("unit.Mbps") }),
    ),
    h("p", { class: "hint" }, t("limits.hint")),
    field(t("fingerprint.label"), inputs.fingerprint, { hint: t("fingerprint.hint") }),
  );
  return { element, read: () => readLimits(inputs, waits ? null : undefined) };
}

/**
 * Returns the name of a fingerprint, which is a browser's own but for two.
 * @param {string} name
 */
function fingerprintName(name) {
  const message = `fingerprint.${name}`;
  return has(message) ? t(message) : name;
}

/** @param {LimitInputs} inputs */
function windowOf({ window, count }) {
  if (count.hidden) return window.value;
  const n = positive(count);
  if (n === null || n > (window.value === "d" ? 90 : 31) || !Number.isInteger(n)) throw wrong(t("limits.count-wrong"), count);
  return window.value === "d" ? `${n}d` : `month@${n}`;
}

/**
 * @param {LimitInputs} inputs
 * @param {null | undefined} noTerm what to send where no time is given
 */
function readLimits(inputs, noTerm) {
  const traffic = positive(inputs.traffic);
  const after = positive(inputs.after);
  return {
    // One of the two: the server refuses both, and takes the one that is not sent away.
    expires_at: after === null ? fromLocalInput(inputs.expires.value) : undefined,
    expires_after_s: after === null ? noTerm : Math.round(after * Number(inputs.afterUnit.value)),
    traffic_limit_bytes: traffic === null ? null : Math.max(1, Math.round(traffic * Number(inputs.unit.value))),
    traffic_limit_window: windowOf(inputs),
    max_devices: positive(inputs.devices),
    speed_limit_mbps: positive(inputs.speed),
    fingerprint: inputs.fingerprint.selectedIndex > 0 ? FINGERPRINTS[inputs.fingerprint.selectedIndex - 1] : null,
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
  const where = nodeChoice();
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
      where.element,
      field(t("key.note"), note, { hint: t("key.note-hint") }),
      h("details", { class: "more" }, h("summary", {}, t("limits.title")), limits.element),
    ],
    actions: [{ label: t("action.cancel") }, { label: t("create.do"), icon: "plus", run: () => make() }],
  });
  draw();

  async function make() {
    const lines = (several.checked ? many.value.split("\n") : [one.value]).map((line) => line.trim()).filter(Boolean);
    if (lines.length === 0) throw wrong(t("key.name-wrong"), several.checked ? many : one);
    const shared = { note: note.value, ...where.read(), ...limits.read() };
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
    const changed = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => value !== undefined && value !== before[name]));
    if (Object.keys(changed).length === 0) return;
    putKey(await patch(keyPath(key.id), changed));
    toast(t("edit.done"));
  }
}

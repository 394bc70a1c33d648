// One key: its traffic, its link, its limits, a test of it, and its changes.
import { deleteKeys, extendDialog, linkBody, linkOf, resetTraffic, rotateDialog, switchKey } from "../../actions.js";
import { h, replace, setText } from "../../dom.js";
import { empty, failure, loading } from "../../errors.js";
import { historyCard } from "../../history.js";
import { icon } from "../../icons.js";
import { bytes, number, rate, t } from "../../i18n.js";
import { badge, button, card, copy, named, setBadge, title, usageBar, when } from "../../parts.js";
import { go } from "../../router.js";
import { hasNodes, keyOf, may, on, state, usageOf, usedBy } from "../../store.js";
import { auditTable } from "../audit.js";
import { subscriptionPart } from "./subscription.js";
import { editDialog } from "./form.js";
import { ending } from "./term.js";
import { testCard } from "./test.js";

/** @param {Page.ViewContext} context */
export function keyView({ main, params, signal }) {
  title(t("key.title"));
  /** @type {AbortController | null} */
  let shown = null;

  function draw() {
    const key = keyOf(params.id);
    if (!state.keys) return replace(main, back(), h("h1", {}, t("key.title")), loading());
    if (!key) {
      shown?.abort();
      shown = null;
      return replace(main, back(), h("h1", {}, t("key.title")), empty(t("key.gone"), t("key.gone-text")));
    }
    if (!shown) {
      shown = new AbortController();
      signal.addEventListener("abort", () => shown?.abort());
      drawKey(main, key, shown.signal);
    }
    title(key.name);
    return undefined;
  }
  on("keys", draw, signal);
  draw();
}

const PHONE = matchMedia("(max-width: 760px)");

const back = () => h("a", { class: "back", href: "#/keys" }, icon("back"), t("nav.keys"));

/**
 * Draws the view once; after that only what changes is set.
 * @param {HTMLElement} main
 * @param {Api.Key} key
 * @param {AbortSignal} signal
 */
function drawKey(main, key, signal) {
  const id = key.id;
  const now = () => keyOf(id) ?? key;
  const name = named(key.name);
  const status = badge(key.status);
  const note = h("p", { class: "key-note", dir: "auto" });
  const power = button("", { name: "power", onclick: () => switchKey(now(), !now().is_active) });
  const powerText = h("span");
  power.append(powerText);
  const facts = factsPart();
  const head = h("header", { class: "view-head" }, h("div", { class: "key-head" }, h("h1", {}, name), status));
  const link = linkCard(id, signal);
  const actions = h(
    "div",
    { class: "row wrap key-actions" },
    button(t("key.edit"), { name: "edit", onclick: () => editDialog(now()) }),
    button(t("rotate.open"), { name: "refresh", onclick: () => rotateDialog(now()) }),
    button(t("key.extend"), { name: "clock", onclick: () => extendDialog([now()]) }),
    power,
    button(t("key.delete"), { name: "trash", kind: "danger", onclick: () => (deleteKeys([now()]), go("#/keys")) }),
  );
  replace(
    main,
    back(),
    head,
    note,
    h(
      "div",
      { class: "key-grid" },
      // First, also for the keyboard: on a phone the link and its QR code are what the page is opened for.
      h("div", { class: "stack aside" }, link, testCard(id)),
      h(
        "div",
        { class: "stack" },
        historyCard(t("key.traffic"), `/api/keys/${encodeURIComponent(id)}/traffic/history`, signal, facts.usage),
        card(t("key.facts"), {}, facts.list),
        may("admin") && auditCard(id, signal),
      ),
    ),
  );

  // On a phone below the QR code, for the keyboard too: five buttons would fill the first screen.
  const placeActions = () => (PHONE.matches ? link.after(actions) : head.append(actions));
  if (may("keys")) {
    placeActions();
    PHONE.addEventListener("change", placeActions, { signal });
  }

  function update() {
    const current = now();
    setText(name, current.name);
    setBadge(status, current.status);
    setText(note, current.note);
    note.hidden = !current.note;
    setText(powerText, t(current.is_active ? "key.disable" : "key.enable"));
    facts.update(current);
  }
  on("keys traffic", update, signal);
  update();
}

function factsPart() {
  const bar = usageBar();
  const live = h("span", { class: "rate" });
  const reset = may("keys") && button(t("reset.open"), { kind: "small", name: "refresh", onclick: () => current && resetTraffic(current) });
  const usage = h("div", { class: "key-usage" }, h("div", {}, h("span", { class: "label" }, t("column.used")), bar), h("div", {}, h("span", { class: "label" }, t("column.live")), live), reset);
  const list = h("dl", { class: "facts" });
  /** @type {Api.Key | null} */
  let current = null;
  let drawn = "";
  /** @param {Api.Key} key */
  function update(key) {
    const used = usageOf(key.id);
    current = key;
    bar.show(usedBy(key), key.traffic_limit_bytes);
    setText(live, rate(used.rate));
    // Drawn only when something changed: text that is selected for copying stays selected.
    const rows = factsOf(key, used);
    const text = JSON.stringify([key, used.devices, used.lastSeen, used.left !== null && bytes(used.left), used.resetsAt, Math.floor(Date.now() / 60_000)]);
    if (text === drawn) return;
    drawn = text;
    replace(list, rows.map(([label, ...value]) => h("div", {}, h("dt", {}, t(label)), h("dd", {}, value))));
  }
  return { usage, list, update };
}

/**
 * Returns the period of a traffic limit, such as "a month from day 15".
 * @param {Api.Window} window
 */
function perWindow(window) {
  const [, n] = /(\d+)/.exec(window) ?? [];
  if (n) return t(window.startsWith("month") ? "window.per.month-from" : "window.per.days", { n });
  return t(/** @type {Page.MessageName} */ (`window.per.${window}`));
}

const none = () => h("span", { class: "muted" }, t("limits.none"));
/** @param {string} text */
const mono = (text) => [h("code", { class: "mono" }, text), copyButton(text)];

/** @param {string} text */
function copyButton(text) {
  const label = t("action.copy");
  return h("button", { type: "button", class: "icon-button tiny", "aria-label": `${label}: ${text}`, title: label, onclick: () => copy(text, t("copied")) }, icon("copy"));
}

/**
 * @param {Api.Key} key
 * @param {Page.Usage} used
 * @returns {[label: Page.MessageName, ...value: Page.Child[]][]}
 */
function factsOf(key, used) {
  const limit = key.traffic_limit_bytes;
  return [
    ["fact.online", used.devices === null ? "?" : number(used.devices), key.max_devices ? t("fact.of", { n: key.max_devices }) : ""],
    ["fact.seen", when(used.lastSeen)],
    ["fact.expires", ending(key, "time")],
    ["fact.limit", limit ? `${bytes(limit)} ${perWindow(key.traffic_limit_window)}` : none()],
    ["fact.left", limit && used.left !== null ? bytes(used.left) : none()],
    ["fact.resets", limit && used.resetsAt ? when(used.resetsAt, "time") : none()],
    ["fact.speed", key.speed_limit_mbps ? `${number(key.speed_limit_mbps)}\u00a0${t("unit.Mbps")}` : none()],
    ...(hasNodes() ? /** @type {[Page.MessageName, ...Page.Child[]][]} */ ([["fact.node", named(key.node)]]) : []),
    ["fact.port", mono(String(key.port))],
    ["fact.sni", mono(key.sni)],
    ["fact.fingerprint", key.fingerprint ?? h("span", { class: "muted" }, t("fingerprint.server"))],
    ["fact.short-id", mono(key.short_id)],
    ["fact.uuid", mono(key.uuid)],
    ["fact.created", when(key.created_at, "time")],
  ];
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 */
function linkCard(id, signal) {
  const content = h("div", {}, loading());
  const subscription = may("keys") && subscriptionPart(id);
  let shown = "";
  const load = async () => {
    try {
      const key = keyOf(id);
      if (key) replace(content, linkBody(key, await linkOf(key)));
    } catch (error) {
      replace(content, failure(error, load));
    }
  };
  const update = () => {
    const key = keyOf(id);
    const link = key ? JSON.stringify([key.name, key.port, key.uuid, key.short_id, key.sni, key.fingerprint]) : shown;
    if (link === shown) return;
    shown = link;
    load();
  };
  on("keys", update, signal);
  update();
  return card(t("link.title"), { class: "card link-card" }, content, subscription);
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 */
function auditCard(id, signal) {
  const { element } = auditTable(signal, { chosen: () => ({ subject: id }), compact: true });
  return card(t("key.audit"), {}, element);
}

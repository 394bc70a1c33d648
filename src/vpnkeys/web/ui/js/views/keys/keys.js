// The list of all keys, with search, order and choice; it follows their traffic.
import { h, reconcile, replace, setText } from "../../dom.js";
import { empty, loading } from "../../errors.js";
import { icon } from "../../icons.js";
import { bytes, compare, number, rate, t } from "../../i18n.js";
import { select } from "../../form.js";
import { button, title } from "../../parts.js";
import { may, nodesOfKeys, on, state, usageOf, usedBy, visibleKeys } from "../../store.js";
import { bulkBar } from "./bulk.js";
import { makeRow, updateLive, updateRow } from "./row.js";
import { createDialog } from "./form.js";
import { byEnd } from "./term.js";

/** @typedef {"all" | Api.Status} Filter */
/** @typedef {"name" | "status" | "live" | "devices" | "used" | "expires" | "port"} Column */
/** @typedef {Column | "created"} Order */

// Kept while the page lives: after a look at one key the list is as it was.
/** @type {{ text: string, status: Filter, node: string, by: Order, down: boolean }} */
const shown = { text: "", status: "all", node: "", by: "created", down: false };
/** @type {Set<string>} */
const chosen = new Set();

/** @type {Filter[]} */
const STATUSES = ["all", "active", "disabled", "expired", "limited"];
// So many rows are drawn at first, and so many more each time that the end of the list comes near: a browser lays out a
// hundred rows at once, and a thousand not.
const PIECE = 100;
/** @type {Record<Order, (one: Api.Key, other: Api.Key) => number>} */
const ORDERS = {
  name: (one, other) => compare(one.name, other.name),
  status: (one, other) => compare(t(`status.${one.status}`), t(`status.${other.status}`)),
  live: (one, other) => usageOf(one.id).rate - usageOf(other.id).rate,
  devices: (one, other) => (usageOf(one.id).devices ?? 0) - (usageOf(other.id).devices ?? 0),
  used: (one, other) => usedBy(one) - usedBy(other),
  expires: byEnd,
  port: (one, other) => one.port - other.port,
  created: () => 0, // as the server lists them, in the order in which they were made: sorting is stable
};
const ORDER_NAMES = /** @type {Order[]} */ (Object.keys(ORDERS));
// Of these columns the largest values come first.
/** @type {Set<Order>} */
const DOWN_FIRST = new Set(["live", "devices", "used"]);
/** @type {Column[]} */
const COLUMNS = ["name", "status", "live", "devices", "used", "expires", "port"];

/** @param {Page.ViewContext} context */
export function keysView({ main, signal }) {
  title(t("nav.keys"));
  const search = h("input", {
    type: "search", id: "search", value: shown.text, placeholder: t("keys.search"), "aria-label": t("keys.search"),
    autocomplete: "off", spellcheck: "false", oninput: () => find(),
  });
  const count = h("p", { class: "count muted", role: "status" });
  const body = h("tbody", { role: "rowgroup" });
  const all = h("input", { type: "checkbox", "aria-label": t("keys.choose-all"), onchange: () => chooseAll() });
  const heads = new Map(COLUMNS.map((name) => /** @type {const} */ ([name, head(name)])));
  const table = h(
    "table",
    { class: "keys", role: "table", "aria-label": t("nav.keys") },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, h("th", { role: "columnheader", class: "pick" }, all), [...heads.values()], h("th", { role: "columnheader", class: "actions" }, h("span", { class: "sr-only" }, t("keys.actions"))))),
    body,
  );
  const none = h("div");
  const end = h("div", { class: "list-end" });
  let drawn = PIECE;
  // The last entry: a busy browser tells of several looks at once, of which only the last is how it is now.
  const near = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && drawMore(), { rootMargin: "600px" });
  near.observe(end);
  signal.addEventListener("abort", () => near.disconnect());
  const filter = h("select", { "aria-label": t("keys.filter"), class: "filter", onchange: () => chooseStatus() });
  const nodes = h("select", { "aria-label": t("fact.node"), class: "filter", hidden: true, onchange: () => chooseNode() });
  const order = select(ORDER_NAMES.map((name) => /** @type {const} */ ([name, t(`sort.${name}`)])), shown.by, { class: "order", "aria-label": t("keys.sort"), onchange: () => sortBy(ORDER_NAMES[order.selectedIndex]) });
  const bulk = bulkBar(() => chosenKeys(), () => (chosen.clear(), draw()));
  const figures = summary();

  replace(
    main,
    h("header", { class: "view-head" }, h("h1", {}, t("nav.keys")), may("keys") && button(t("keys.new"), { kind: "primary", name: "plus", onclick: createDialog })),
    figures.element,
    h("div", { class: "toolbar" }, h("div", { class: "search" }, icon("search"), search), filter, nodes, order, count),
    h("div", { class: "sheet" }, table, none, end),
    bulk.element,
  );

  function find() {
    shown.text = search.value;
    drawn = PIECE;
    draw();
  }

  function chooseStatus() {
    shown.status = STATUSES[filter.selectedIndex];
    draw();
  }

  function chooseNode() {
    shown.node = nodes.value;
    draw();
  }

  /** @param {Column} name */
  function head(name) {
    const sort = h("button", { type: "button", class: "sort", onclick: () => sortBy(name) }, t(`column.${name}`), h("i", { class: "arrow", "aria-hidden": "true" }));
    return h("th", { role: "columnheader", scope: "col", class: `c-${name}` }, sort);
  }

  /** @param {Order} name */
  function sortBy(name) {
    Object.assign(shown, { by: name, down: name === shown.by ? !shown.down : DOWN_FIRST.has(name) });
    draw();
  }

  const chosenKeys = () => visibleKeys().filter((key) => chosen.has(key.id));

  function found() {
    const words = shown.text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const fits = (/** @type {Api.Key} */ key) => {
      const text = `${key.name}\n${key.note}\n${key.port}\n${key.uuid}\n${key.id}`.toLocaleLowerCase();
      return words.every((word) => text.includes(word));
    };
    const keys = visibleKeys().filter((key) => (shown.status === "all" || key.status === shown.status) && (!shown.node || key.node === shown.node) && fits(key));
    const sign = shown.down ? -1 : 1;
    if (shown.by === "created" && shown.down) keys.reverse();
    return keys.sort((one, other) => sign * ORDERS[shown.by](one, other));
  }

  /**
   * @param {Api.Key} key
   * @param {boolean} isChosen
   */
  function choose(key, isChosen) {
    if (isChosen) chosen.add(key.id);
    else chosen.delete(key.id);
    drawChoice(found());
  }

  function chooseAll() {
    for (const key of found()) {
      if (all.checked) chosen.add(key.id);
      else chosen.delete(key.id);
    }
    draw();
  }

  /** @param {Api.Key[]} keys */
  function drawChoice(keys) {
    const inView = keys.filter((key) => chosen.has(key.id)).length;
    all.checked = keys.length > 0 && inView === keys.length;
    all.indeterminate = inView > 0 && inView < keys.length;
    for (const row of body.rows) row.classList.toggle("chosen", chosen.has(row.dataset.key ?? ""));
    bulk.update();
  }

  function draw() {
    if (!state.keys) return replace(none, loading());
    drawNodes();
    for (const id of chosen) if (!visibleKeys().some((key) => key.id === id)) chosen.delete(id);
    const keys = found();
    const restore = focusKeeper(body);
    reconcile(body, keys.slice(0, drawn), (key) => key.id, (key) => makeRow(key, choose), (row, key) => updateRow(row, key, chosen.has(key.id)));
    restore();
    table.hidden = keys.length === 0;
    replace(none, keys.length > 0 ? [] : nothing());
    const of = visibleKeys().length;
    setText(count, keys.length === of ? t("keys.count", { n: of }) : t("keys.count-of", { found: keys.length, n: of }));
    for (const [name, cell] of heads) cell.setAttribute("aria-sort", name !== shown.by ? "none" : shown.down ? "descending" : "ascending");
    order.value = shown.by;
    drawFilter();
    drawChoice(keys);
    figures.update();
    return undefined;
  }

  function drawMore() {
    if (body.rows.length >= found().length) return;
    drawn += PIECE;
    draw();
    // Asked again: an end that is still near does not come near a second time.
    near.unobserve(end);
    near.observe(end);
  }

  function drawFilter() {
    const counts = (/** @type {Filter} */ status) => visibleKeys().filter((key) => status === "all" || key.status === status).length;
    const options = STATUSES.map((status) => `${t(`filter.${status}`)} · ${number(counts(status))}`);
    if (filter.options.length === 0) replace(filter, STATUSES.map((status) => h("option", { value: status })));
    options.forEach((text, index) => setText(filter.options[index], text));
    filter.value = shown.status;
  }

  function drawNodes() {
    const names = nodesOfKeys();
    if (!names.includes(shown.node)) shown.node = "";
    nodes.hidden = names.length < 2;
    const present = ["", ...names];
    if (present.join("\n") !== [...nodes.options].map((option) => option.value).join("\n"))
      replace(nodes, present.map((name) => h("option", { value: name }, name || t("nodes.all"))));
    nodes.value = shown.node;
  }

  function nothing() {
    if (visibleKeys().length > 0) return empty(t("keys.no-match"), t("keys.no-match-text"), button(t("keys.clear"), { onclick: () => clear() }));
    const make = may("keys") && button(t("keys.new"), { kind: "primary", name: "plus", onclick: createDialog });
    return empty(t("keys.none"), t("keys.none-text"), make);
  }

  function clear() {
    Object.assign(shown, { text: "", status: "all", node: "" });
    search.value = "";
    draw();
    search.focus();
  }

  const moving = () => ["live", "used", "devices"].includes(shown.by) && !body.matches(":hover, :focus-within");
  on("keys", draw, signal);
  on(
    "traffic",
    () => {
      if (moving()) draw();
      for (const row of body.children) updateLive(row);
      figures.update();
    },
    signal,
  );
  document.addEventListener(
    "keydown",
    (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k" || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      search.focus();
      search.select();
    },
    { signal },
  );
  draw();
}

/**
 * Returns a function that gives the focus to the next row, the row before or the search where the focused row is gone.
 * @param {HTMLElement} body
 */
function focusKeeper(body) {
  const row = document.activeElement?.closest?.("tr");
  if (!row || row.parentElement !== body) return () => null;
  const near = [row.nextElementSibling, row.previousElementSibling];
  return () => {
    if (row.isConnected) return;
    const next = near.find((other) => other?.isConnected)?.querySelector("a");
    (next ?? document.getElementById("search"))?.focus();
  };
}

function summary() {
  const figure = (/** @type {string} */ label) => {
    const value = h("dd");
    return { value, element: h("div", {}, h("dt", {}, label), value) };
  };
  const [active, online, now, used] = [figure(t("figure.active")), figure(t("figure.online")), figure(t("figure.now")), figure(t("figure.used"))];
  const update = () => {
    const keys = visibleKeys();
    const usages = keys.map((key) => usageOf(key.id));
    setText(active.value, t("figure.of", { n: keys.filter((key) => key.status === "active").length, all: keys.length }));
    setText(online.value, number(usages.filter((usage) => (usage.devices ?? 0) > 0).length));
    setText(now.value, rate(state.totalRate));
    setText(used.value, bytes(usages.reduce((sum, usage) => sum + usage.total, 0)));
  };
  return { element: h("dl", { class: "figures" }, [active, online, now, used].map((one) => one.element)), update };
}

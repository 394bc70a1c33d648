// The traffic of all keys together, now and over time, and the keys that use most.
import { h, reconcile, replace, setText } from "../dom.js";
import { historyCard } from "../history.js";
import { bytes, number, rate, t } from "../i18n.js";
import { card, named, sparkline, title } from "../parts.js";
import { on, state, usageOf, visibleKeys } from "../store.js";

const MOST = 10;

/** @param {Page.ViewContext} context */
export function trafficView({ main, signal }) {
  title(t("nav.traffic"));
  const now = h("p", { class: "now-rate" });
  const online = h("p", { class: "muted" });
  const wave = sparkline(600, 96);
  wave.classList.add("wave");
  const body = h("tbody");
  replace(
    main,
    h("header", { class: "view-head" }, h("h1", {}, t("nav.traffic"))),
    h("div", { class: "traffic-grid" }, historyCard(t("traffic.history"), "/api/traffic/history", signal), card(t("traffic.now"), { class: "card now" }, now, online, wave)),
    card(t("traffic.most"), {}, h("table", { class: "plain most" }, h("thead", {}, h("tr", {}, /** @type {const} */ (["column.name", "column.used", "traffic.share", "column.live"]).map((name) => h("th", { scope: "col" }, t(name))))), body)),
  );

  function draw() {
    const keys = visibleKeys();
    const all = keys.reduce((sum, key) => sum + usageOf(key.id).total, 0);
    const most = [...keys].sort((one, other) => usageOf(other.id).total - usageOf(one.id).total).slice(0, MOST);
    reconcile(body, most, (key) => key.id, makeRow, (row, key) => updateRow(row, key, all));
    setText(now, rate(state.totalRate));
    const count = keys.filter((key) => (usageOf(key.id).devices ?? 0) > 0).length;
    setText(online, t("traffic.online", { n: count }));
    wave.show(state.totalRates, 60);
  }
  on("keys traffic", draw, signal);
  draw();
}

/** @param {Api.Key} key */
function makeRow(key) {
  const bar = h("i");
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: `#/keys/${encodeURIComponent(key.id)}` }, named(key.name))),
    h("td", { class: "figure" }),
    h("td", { class: "share" }, h("span", { class: "bar" }, bar), h("span", { class: "figure" })),
    h("td", { class: "figure" }),
  );
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Api.Key} key
 * @param {number} all bytes of all keys
 */
function updateRow(row, key, all) {
  const usage = usageOf(key.id);
  const share = all > 0 ? (100 * usage.total) / all : 0;
  setText(row.querySelector("bdi"), key.name);
  setText(row.cells[1], bytes(usage.total));
  row.cells[2].querySelector("i")?.style.setProperty("inline-size", `${share.toFixed(1)}%`);
  setText(row.cells[2].lastElementChild, `${number(share, share < 10 ? 1 : 0)}\u00a0%`);
  setText(row.cells[3], usage.rate > 0 ? rate(usage.rate) : "—");
}

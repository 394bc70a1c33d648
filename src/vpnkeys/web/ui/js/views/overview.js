// The server at a glance: its host, the last 15 minutes, the traffic over time, and the keys that use most.
import { get, isAbort } from "../api.js";
import { h, reconcile, replace, setText } from "../dom.js";
import { empty, failure, loading } from "../errors.js";
import { historyCard } from "../history.js";
import { bytes, date, number, rate, relative, span, t } from "../i18n.js";
import { card, level, named, title } from "../parts.js";
import { recentChart } from "../recent.js";
import { on, usageOf, visibleKeys } from "../store.js";

const MOST = 10;
const REFRESH_MS = 10_000;

/** @param {Page.ViewContext} context */
export function overviewView({ main, signal }) {
  title(t("nav.overview"));
  const figures = h("div", { class: "stack" }, loading());
  const chart = recentChart(signal);
  replace(
    main,
    h("header", { class: "view-head" }, h("h1", {}, t("nav.overview"))),
    h("div", { class: "overview-grid" }, figures, h("div", { class: "stack" }, card(t("recent.title"), {}, chart), historyCard(t("traffic.history"), "/api/traffic/history", signal), mostCard(signal))),
  );

  async function load() {
    try {
      const overview = await get("/api/system/overview", { signal });
      replace(figures, card(t("overview.now"), {}, nowList(overview)), card(t("overview.host"), {}, hostList(overview)), card(t("overview.server"), {}, serverList(overview)));
      chart.show(overview.recent);
    } catch (error) {
      if (!isAbort(error)) replace(figures, failure(error, load));
    }
  }
  const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  load();
}

/** @param {[label: Page.MessageName, ...value: Page.Child[]][]} rows */
const facts = (rows) => h("dl", { class: "facts" }, rows.map(([label, ...value]) => h("div", {}, h("dt", {}, t(label)), h("dd", {}, value))));

/** @param {Api.Overview} overview */
function nowList({ online, recent }) {
  const newest = recent.at(-1);
  const unknown = h("span", { class: "muted" }, "?");
  return facts([
    ["overview.keys", online ? number(online.keys) : unknown],
    ["overview.devices", online ? number(online.devices) : unknown],
    ["chart.down", rate(newest?.down_rate ?? 0)],
    ["chart.up", rate(newest?.up_rate ?? 0)],
  ]);
}

/** @param {Api.Overview} overview */
function hostList({ host }) {
  /**
   * @param {string} text
   * @param {number} share
   */
  const measured = (text, share) => h("span", { class: "usage" }, h("span", { class: "usage-text" }, text), level(share));
  /**
   * @param {number} all
   * @param {number} free
   */
  const used = (all, free) => measured(t("usage.of", { used: bytes(all - free), limit: bytes(all) }), 1 - free / all);
  const busy = host.cpu_percent === null ? "?" : measured(`${number(host.cpu_percent)}\u00a0%`, host.cpu_percent / 100);
  return facts([
    ["overview.cpu", busy],
    ["overview.memory", host.memory_bytes === null ? "?" : used(host.memory_bytes, host.memory_free_bytes ?? 0)],
    ["overview.disk", used(host.disk_bytes, host.disk_free_bytes)],
  ]);
}

/** @param {Api.Overview} overview */
function serverList(overview) {
  const age = (/** @type {string | null} */ at, /** @type {Page.MessageName} */ none) =>
    at ? h("time", { datetime: `${at}Z`, title: date(at, "exact") }, relative(at)) : h("span", { class: "muted" }, t(none));
  return facts([
    ["overview.address", h("code", { class: "mono" }, overview.server_address)],
    ["overview.version", `vpnkeys ${overview.version}`],
    ["overview.xray", `Xray ${overview.xray_version}`],
    ["overview.uptime", span(overview.uptime_seconds)],
    ["overview.certificate", age(overview.certificate_expires_at, "overview.unreadable")],
    ["overview.backup", age(overview.newest_backup_at, "backups.none")],
  ]);
}

/** @param {AbortSignal} signal */
function mostCard(signal) {
  const body = h("tbody");
  const none = empty(t("keys.none"), t("keys.none-text"), h("a", { class: "button", href: "#/keys" }, t("keys.go")));
  const table = h("table", { class: "plain most" }, h("thead", {}, h("tr", {}, /** @type {const} */ (["column.name", "column.used", "traffic.share", "column.live"]).map((name) => h("th", { scope: "col" }, t(name))))), body);
  function draw() {
    const keys = visibleKeys();
    const all = keys.reduce((sum, key) => sum + usageOf(key.id).total, 0);
    const most = [...keys].sort((one, other) => usageOf(other.id).total - usageOf(one.id).total).slice(0, MOST);
    table.hidden = most.length === 0;
    none.hidden = most.length > 0;
    reconcile(body, most, (key) => key.id, makeRow, (row, key) => updateRow(row, key, all));
  }
  on("keys traffic", draw, signal);
  draw();
  return card(t("traffic.most"), {}, table, none);
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

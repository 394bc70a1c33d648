// The state of the system: the database, config.json and the running Xray, compared key by key.
import { get, isAbort } from "../../api.js";
import { h, replace } from "../../dom.js";
import { failure, loading } from "../../errors.js";
import { icon } from "../../icons.js";
import { t } from "../../i18n.js";
import { card, iconButton, named, title } from "../../parts.js";
import { keyOf, may, on } from "../../store.js";
import { driftPicture } from "./drift-picture.js";
import { repairButtons } from "./repairs.js";
import { systemHead } from "./tabs.js";

const REFRESH_MS = 15_000;

/** @param {Page.ViewContext} context */
export function driftView({ main, signal }) {
  title(t("system.drift"));
  const content = h("div", { class: "stack" }, loading());
  let drawn = "";
  replace(main, systemHead("#/system"), content);

  async function load() {
    try {
      const { validation } = await get("/api/system/xray/validate-sync", { signal });
      const text = JSON.stringify(validation);
      if (text === drawn) return;
      drawn = text;
      replace(content, draw(validation, refresh));
    } catch (error) {
      if (isAbort(error)) return;
      drawn = "";
      replace(content, failure(error, refresh));
    }
  }
  // Draws also when nothing has changed, so that the button shows an effect.
  async function refresh() {
    drawn = "";
    await load();
  }
  const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  on("keys health", load, signal);
  load();
}

/**
 * @param {Api.Validation} validation
 * @param {() => Promise<void>} refresh
 */
function draw(validation, refresh) {
  const lines = differences(validation);
  const good = validation.config.synced && validation.runtime.synced;
  return [
    card(
      t("drift.title"),
      { actions: [iconButton("refresh", t("action.refresh"), refresh)] },
      h("p", { class: `verdict ${good ? "good" : "bad"}`, role: "status" }, icon(good ? "check" : "warn"), h("b", {}, t(good ? "drift.good" : "drift.bad"))),
      driftPicture(validation),
      lines.length > 0 && h("ul", { class: "findings" }, lines),
    ),
    may("admin") && card(t("repair.title"), {}, h("p", { class: "muted" }, t("repair.text")), repairButtons(refresh)),
  ];
}

/**
 * Returns in words what the picture shows: each key that is missing, that differs, or that no database has.
 * @param {Api.Validation} validation
 */
function differences(validation) {
  const lines = [];
  if (validation.problem) lines.push(h("li", {}, h("b", {}, "config.json"), " ", h("span", { lang: "en" }, validation.problem)));
  if (!validation.runtime.reachable) lines.push(h("li", {}, h("b", {}, "Xray"), " ", t("drift.silent")));
  const sides = /** @type {const} */ ([["config", "config.json"], ["runtime", t("drift.running")]]);
  for (const [side, label] of sides) {
    const { missing, extra, settings } = validation[side];
    for (const id of missing) if (!settings[id]) lines.push(finding(label, id, t("drift.missing")));
    for (const [id, names] of Object.entries(settings)) lines.push(finding(label, id, t("drift.different", { names: names.join(", ") })));
    for (const id of extra) lines.push(finding(label, id, t("drift.extra")));
  }
  return lines;
}

/**
 * @param {string} side
 * @param {string} id
 * @param {string} text
 */
function finding(side, id, text) {
  const key = keyOf(id);
  const name = key ? h("a", { href: `#/keys/${encodeURIComponent(key.id)}` }, named(key.name)) : h("code", { class: "mono" }, id);
  return h("li", {}, h("span", { class: "side" }, side), name, h("span", {}, text));
}


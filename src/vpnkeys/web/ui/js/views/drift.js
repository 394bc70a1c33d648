// Is what runs what should run? Database, config.json and the running Xray, side by side.
import { get } from "../api.js";
import { h, replace } from "../dom.js";
import { failure, loading } from "../errors.js";
import { icon } from "../icons.js";
import { t } from "../i18n.js";
import { card, iconButton, named, title } from "../parts.js";
import { keyOf, may, on } from "../store.js";
import { driftPicture } from "./drift-picture.js";
import { repairButtons } from "./repairs.js";
import { systemHead } from "./system-tabs.js";

const REFRESH_MS = 15_000;

export function driftView({ main, signal }) {
  title(t("system.drift"));
  const place = h("div", { class: "stack" }, loading());
  let told = "";
  replace(main, systemHead("#/system"), place);

  async function load() {
    try {
      const { validation } = await get("/api/system/xray/validate-sync", { signal });
      const text = JSON.stringify(validation);
      if (text === told) return;
      told = text;
      replace(place, draw(validation, refresh));
    } catch (error) {
      if (error.name === "AbortError") return;
      told = "";
      replace(place, failure(error, refresh));
    }
  }
  // Also when nothing has changed: whoever asked sees an answer.
  async function refresh() {
    told = "";
    await load();
  }
  const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  on("keys health", load, signal);
  load();
}

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

// In words, what the picture shows: for every key that is not as it should be, and for strangers.
function differences(validation) {
  const lines = [];
  if (validation.problem) lines.push(h("li", {}, h("b", {}, "config.json"), " ", h("span", { lang: "en" }, validation.problem)));
  if (!validation.runtime.reachable) lines.push(h("li", {}, h("b", {}, "Xray"), " ", t("drift.silent")));
  for (const [side, label] of [["config", "config.json"], ["runtime", t("drift.running")]]) {
    const { missing, extra, settings } = validation[side];
    for (const who of missing) if (!settings[who]) lines.push(finding(label, who, t("drift.missing")));
    for (const [who, names] of Object.entries(settings)) lines.push(finding(label, who, t("drift.different", { names: names.join(", ") })));
    for (const who of extra) lines.push(finding(label, who, t("drift.extra")));
  }
  return lines;
}

function finding(side, who, text) {
  const key = keyOf(who);
  const name = key ? h("a", { href: `#/keys/${encodeURIComponent(key.id)}` }, named(key.name)) : h("code", { class: "mono" }, who);
  return h("li", {}, h("span", { class: "side" }, side), name, h("span", {}, text));
}


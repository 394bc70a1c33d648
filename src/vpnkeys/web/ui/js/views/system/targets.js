// The sites whose TLS handshake REALITY uses, each with the result of its last check.
import { get, isAbort } from "../../api.js";
import { h, replace } from "../../dom.js";
import { empty, failure, loading, translatedCheck } from "../../errors.js";
import { icon } from "../../icons.js";
import { moment, relative, t } from "../../i18n.js";
import { card, iconButton, named, title } from "../../parts.js";
import { on } from "../../store.js";
import { systemHead } from "./tabs.js";

/** @param {Page.ViewContext} context */
export function targetsView({ main, signal }) {
  title(t("system.targets"));
  const content = h("div", { class: "stack" }, loading());
  replace(main, systemHead("#/system/targets"), content);

  async function load() {
    try {
      const { targets, timestamp } = await get("/api/system/targets", { signal });
      replace(content, draw(targets, timestamp, load));
    } catch (error) {
      if (!isAbort(error)) replace(content, failure(error, load));
    }
  }
  on("health", load, signal);
  load();
}

/**
 * @param {Api.Target[]} targets
 * @param {number} timestamp
 * @param {() => Promise<void>} load
 */
function draw(targets, timestamp, load) {
  const row = (/** @type {Api.Target} */ target) => {
    const good = target.usable;
    const lines = [...target.problems, ...target.warnings];
    return h(
      "li",
      { class: "target" },
      h("span", { class: `verdict ${good ? "good" : "bad"}` }, icon(good ? "check" : "warn"), h("b", {}, target.server_name)),
      h("code", { class: "mono muted" }, target.target),
      h("span", {}, t(good ? "targets.good" : "targets.bad")),
      target.affected_keys.length > 0 &&
        h("p", { class: "affected" }, t("targets.affected"), " ", target.affected_keys.map((key) => [h("a", { href: `#/keys/${encodeURIComponent(key.key_id)}` }, named(key.name)), " "])),
      lines.length > 0 && h("ul", { class: "plan-list" }, lines.map(said)),
    );
  };
  const refresh = iconButton("refresh", t("action.refresh"), load);
  const seen = timestamp ? t("targets.text", { when: relative(moment(timestamp).toISOString()) }) : "";
  return card(
    t("targets.title"),
    { actions: [refresh] },
    h("p", { class: "muted" }, seen),
    targets.length > 0 ? h("ul", { class: "targets", role: "list" }, targets.map(row)) : empty(t("targets.none")),
  );
}

/**
 * Returns what a check says, in the reader's language where that is known.
 * @param {string} line
 */
function said(line) {
  const translation = translatedCheck(line);
  return h("li", { lang: translation === null ? "en" : null }, translation ?? line);
}

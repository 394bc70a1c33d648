// The range of ports as a map: the key of each port, the free ones, and those with a problem.
import { get, isAbort } from "../../api.js";
import { h, replace } from "../../dom.js";
import { failure, loading } from "../../errors.js";
import { icon } from "../../icons.js";
import { t } from "../../i18n.js";
import { button, card, named, title } from "../../parts.js";
import { keyOf, may, on } from "../../store.js";
import { resetPortsDialog } from "./repairs.js";
import { systemHead } from "./tabs.js";

/** @param {Page.ViewContext} context */
export function portsView({ main, signal }) {
  title(t("system.ports"));
  const content = h("div", { class: "stack" }, loading());
  replace(main, systemHead("#/system/ports"), content);
  let drawn = "";

  async function load() {
    try {
      const [ports, status] = await Promise.all([get("/api/system/ports", { signal }), get("/api/system/ports/status", { signal })]);
      const text = JSON.stringify([ports.port_assignments, status.validation]);
      if (text === drawn) return;
      drawn = text;
      replace(content, draw(ports, status.validation, load));
    } catch (error) {
      if (isAbort(error)) return;
      drawn = "";
      replace(content, failure(error, load));
    }
  }
  on("keys", load, signal);
  load();
}

/**
 * @param {Api.Ports} ports
 * @param {Api.PortValidation} validation
 * @param {() => Promise<void>} load
 */
function draw(ports, validation, load) {
  const reset = button(t("ports.reset"), { name: "refresh", onclick: () => resetPortsDialog(load) });
  return [
    card(
      t("ports.title"),
      { actions: may("admin") && ports.available_ports < ports.max_ports ? [reset] : [] },
      h("p", { class: "muted" }, t("ports.free", { n: ports.available_ports, all: ports.max_ports, range: ports.port_range })),
      map(ports, validation.issues),
    ),
    validation.issues.length > 0 &&
      card(t("ports.issues"), {}, h("ul", { class: "findings" }, validation.issues.map((issue) => h("li", {}, icon("warn"), h("span", { lang: "en" }, issue))))),
  ];
}

/**
 * @param {Api.Ports} ports
 * @param {string[]} issues
 */
function map(ports, issues) {
  const [first, last] = ports.port_range.split("-").map(Number);
  const withIssue = new Set(issues.flatMap((issue) => (issue.match(/\bport (\d+)/g) ?? []).map((found) => Number(found.slice(5)))));
  const cell = (/** @type {number} */ port) => {
    const used = ports.port_assignments.used_ports[port];
    const wrong = withIssue.has(port) ? "wrong" : "";
    // On a phone there is room for what changes from port to port.
    const digits = String(port);
    const short = h("span", { class: "port-number" }, h("span", { class: "port-series" }, digits.slice(0, -3)), digits.slice(-3));
    if (!used) return h("li", { class: `port free ${wrong}` }, h("span", { class: "cell" }, short, h("span", { class: "sr-only" }, t("ports.is-free"))));
    const status = keyOf(used.key_id)?.status ?? (used.is_active ? "active" : "disabled");
    return h(
      "li",
      { class: `port used ${status} ${wrong}` },
      h("a", { class: "cell", href: `#/keys/${encodeURIComponent(used.key_id)}`, title: used.key_name }, short, named(used.key_name), h("span", { class: "sr-only" }, t(`status.${status}`))),
    );
  };
  const legend = /** @type {const} */ (["active", "disabled", "expired", "limited", "free", "wrong"]).map((name) => h("span", {}, h("i", { class: `square port-${name}` }), t(`ports.legend.${name}`)));
  return h(
    "figure",
    { class: "ports" },
    h("ol", { class: "port-map", role: "list", "aria-label": t("ports.title") }, Array.from({ length: last - first + 1 }, (_, index) => cell(first + index))),
    h("figcaption", { class: "legend" }, legend),
  );
}

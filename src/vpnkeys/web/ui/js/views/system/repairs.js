// Repairs: each shows its plan before the button that runs it.
import { get, post } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h } from "../../dom.js";
import { icon } from "../../icons.js";
import { t } from "../../i18n.js";
import { button, named } from "../../parts.js";
import { keyOf } from "../../store.js";
import { toast } from "../../toast.js";

/**
 * @typedef {{ name: "sync" | "verify" | "restart" | "keys", path: keyof Api.PostAnswers, restarts: boolean }} Repair
 * @type {Repair[]}
 */
const REPAIRS = [
  { name: "sync", path: "/api/system/sync-config", restarts: false },
  { name: "verify", path: "/api/system/verify-reality", restarts: false },
  { name: "restart", path: "/api/system/xray/sync-config", restarts: true },
  { name: "keys", path: "/api/system/fix-reality-keys", restarts: true },
];

/** @param {() => Promise<void>} done */
export function repairButtons(done) {
  const entry = (/** @type {Repair} */ repair) =>
    h(
      "li",
      { class: "repair" },
      h("div", {}, h("h3", {}, t(`repair.${repair.name}`)), h("p", { class: "muted" }, t(`repair.${repair.name}.text`))),
      button(t("repair.look"), { onclick: () => repairDialog(repair, done), "aria-label": `${t("repair.look")}: ${t(`repair.${repair.name}`)}` }),
    );
  return h("ul", { class: "repairs", role: "list" }, REPAIRS.map(entry));
}

/**
 * @param {Repair} repair
 * @param {() => Promise<void>} done
 */
async function repairDialog(repair, done) {
  const plan = await get("/api/system/plan");
  openDialog({
    title: t(`repair.${repair.name}`),
    wide: true,
    body: [h("p", {}, t(`repair.${repair.name}.text`)), planPart(plan), repair.restarts && note("refresh", t("repair.restarts"))],
    actions: [
      { label: t("action.cancel") },
      {
        label: t(`repair.${repair.name}.do`),
        run: async () => {
          await post(repair.path);
          toast(t("repair.done"));
          await done();
        },
      },
    ],
  });
}

/**
 * @param {Page.IconName} name
 * @param {...Page.Child} text
 */
const note = (name, ...text) => h("p", { class: "plan-note" }, icon(name), h("span", {}, text));

/** @param {Api.RepairPlan} plan */
function planPart(plan) {
  if (plan.in_sync) return h("section", { class: "plan" }, note("check", t("plan.nothing")));
  return h(
    "section",
    { class: "plan", "aria-label": t("plan.label") },
    h("h3", {}, t("plan.label")),
    plan.file.problem && note("warn", h("span", { lang: "en" }, plan.file.problem)),
    plan.running === false && note("warn", t("drift.silent")),
    plan.file.rewrite && note("edit", t("plan.file")),
    inbounds("trash", t("plan.remove", { n: plan.remove.length }), plan.remove),
    inbounds("plus", t("plan.add", { n: plan.add.length }), plan.add),
    plan.cut.length > 0 && note("power", t("plan.cut", { ports: plan.cut.join(", ") })),
  );
}

/**
 * @param {Page.IconName} name
 * @param {string} heading
 * @param {Api.PlannedInbound[]} list
 */
function inbounds(name, heading, list) {
  if (list.length === 0) return null;
  const line = (/** @type {Api.PlannedInbound} */ { tag, port, key_id: id }) => {
    const key = keyOf(id);
    return h("li", {}, key ? named(key.name) : h("code", { class: "mono" }, tag), port && h("span", { class: "muted figure" }, ` ${t("plan.port", { port: String(port) })}`));
  };
  return h("div", {}, note(name, heading), h("ul", { class: "plan-list" }, list.map(line)));
}

/** @param {() => Promise<void>} done */
export async function resetPortsDialog(done) {
  const { changed } = await get("/api/system/ports/plan");
  const row = (/** @type {Api.PortMove} */ move) => h("tr", {}, h("th", { scope: "row" }, named(move.name)), h("td", { class: "figure" }, String(move.old_port)), h("td", {}, "→"), h("td", { class: "figure" }, String(move.new_port)));
  openDialog({
    title: t("ports.reset"),
    body: [
      h("p", {}, t("ports.reset-text")),
      changed.length === 0 ? note("check", t("ports.plan-nothing")) : [note("warn", t("ports.plan", { n: changed.length })), h("div", { class: "scroll" }, h("table", { class: "plain" }, h("tbody", {}, changed.map(row))))],
    ],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("ports.reset-do"),
        kind: changed.length > 0 ? "danger-solid" : "primary",
        run: async () => {
          await post("/api/system/ports/reset");
          toast(t("repair.done"));
          await done();
        },
      },
    ],
  });
}

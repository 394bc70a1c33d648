// Webhooks: addresses that the server sends events of keys to.
import { get, isAbort, patch, post, remove } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h, replace } from "../../dom.js";
import { empty, failure, loading, wrong } from "../../errors.js";
import { field, textInput } from "../../form.js";
import { date, t } from "../../i18n.js";
import { button, card, title } from "../../parts.js";
import { toast, undoable } from "../../toast.js";
import { accessHead } from "./tabs.js";
import { secretDialog } from "./secret.js";

/**
 * Returns the path of a webhook, or of something below it.
 * @template {string} [Rest=""]
 * @param {Api.Webhook} hook
 * @param {Rest} [rest]
 */
const pathOf = (hook, rest) => /** @type {`/api/webhooks/${string}${Rest}`} */ (`/api/webhooks/${encodeURIComponent(hook.id)}${rest ?? ""}`);
/** @type {Api.Kind[]} */
const EVENTS = ["key.created", "key.changed", "key.deleted", "key.limit_near", "key.limited", "key.expired", "key.active", "traffic.gap", "drift.found", "node.silent", "node.back", "node.lost"];
/** @type {Set<string>} */
const removing = new Set();

/** @param {Page.ViewContext} context */
export function webhooksView({ main, signal }) {
  title(t("access.webhooks"));
  const content = h("div", {}, loading());
  /** @type {Api.Webhook[]} */
  let hooks = [];
  const make = button(t("hooks.new"), { kind: "primary", name: "plus", onclick: () => createDialog(load) });
  replace(main, accessHead("#/access/webhooks"), card(t("access.webhooks"), { actions: [make] }, h("p", { class: "muted" }, t("hooks.text")), content));

  async function load() {
    try {
      hooks = await get("/api/webhooks", { signal });
      draw();
    } catch (error) {
      if (!isAbort(error)) replace(content, failure(error, load));
    }
  }

  function draw() {
    const shown = hooks.filter((hook) => !removing.has(hook.id));
    replace(content, shown.length > 0 ? h("ul", { class: "hooks", role: "list" }, shown.map(entry)) : empty(t("hooks.none"), t("hooks.none-text")));
  }

  /** @param {Api.Webhook} hook */
  function entry(hook) {
    const events = hook.events.length > 0 ? hook.events.join(", ") : t("hooks.all");
    /**
     * @param {Page.MessageName} name
     * @param {() => unknown} onclick
     * @param {string} [kind]
     */
    const action = (name, onclick, kind = "small") => button(t(name), { kind, onclick, "aria-label": `${t(name)}: ${hook.url}` });
    const flip = async () => {
      await patch(pathOf(hook), { is_active: !hook.is_active });
      await load();
    };
    return h(
      "li",
      { class: hook.is_active ? "hook" : "hook off" },
      h("div", {}, h("code", { class: "mono" }, hook.url), h("p", { class: "muted" }, events)),
      h(
        "div",
        { class: "row wrap" },
        action("hooks.test", () => test(hook)),
        action("hooks.deliveries", () => deliveries(hook)),
        action(hook.is_active ? "key.disable" : "key.enable", flip),
        action("key.delete", () => drop(hook), "small danger"),
      ),
    );
  }

  /** @param {Api.Webhook} hook */
  function drop(hook) {
    removing.add(hook.id);
    draw();
    const showAgain = () => {
      removing.delete(hook.id);
      if (!signal.aborted) load();
    };
    undoable({
      words: () => ({ text: t("hooks.deleting"), now: t("delete.now"), done: t("hooks.deleted") }),
      undo: showAgain,
      run: async ({ keepalive }) => (await remove(pathOf(hook), { keepalive }), showAgain()),
    });
  }
  load();
}

/** @param {() => Promise<void>} done */
function createDialog(done) {
  const url = textInput({ type: "url", inputmode: "url", required: true, placeholder: "https://" });
  const boxes = EVENTS.map((name) => ({ name, box: h("input", { type: "checkbox" }) }));
  openDialog({
    title: t("hooks.new"),
    body: [field(t("hooks.url"), url, { hint: t("hooks.url-hint") }), h("fieldset", { class: "choices" }, h("legend", {}, t("hooks.events")), boxes.map(({ name, box }) => h("label", { class: "check" }, box, h("code", { class: "mono" }, name))))],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("hooks.make"),
        run: async () => {
          if (!url.value.trim()) throw wrong(t("hooks.url-wrong"), url);
          const made = await post("/api/webhooks", { url: url.value.trim(), events: boxes.filter(({ box }) => box.checked).map(({ name }) => name) });
          await done();
          setTimeout(() => secretDialog(t("hooks.made"), t("hooks.once"), made.secret));
        },
      },
    ],
  });
}

/** @param {Api.Webhook} hook */
async function test(hook) {
  const result = await post(pathOf(hook, "/test"));
  if (result.delivered) toast(t("hooks.works"));
  else toast([t("hooks.failed"), result.last_error && [" ", t("problems.detail"), " ", h("span", { lang: "en" }, result.last_error)]], { kind: "error" });
}

/** @param {Api.Webhook} hook */
async function deliveries(hook) {
  const list = await get(pathOf(hook, "/deliveries"));
  const outcome = (/** @type {Api.Delivery} */ one) => {
    if (one.delivered_at) return t("hooks.arrived");
    return [t(one.next_try_at ? "hooks.waiting" : "hooks.given-up"), one.last_error && h("span", { class: "muted", lang: "en" }, ` ${one.last_error}`)];
  };
  const row = (/** @type {Api.Delivery} */ one) => h("tr", {}, h("th", { scope: "row" }, h("code", { class: "mono" }, one.event)), h("td", {}, date(one.created_at, "exact")), h("td", {}, outcome(one)));
  openDialog({
    title: t("hooks.deliveries"),
    wide: true,
    body: list.length > 0 ? h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": t("hooks.deliveries") }, h("table", { class: "plain" }, h("tbody", {}, list.map(row)))) : empty(t("hooks.nothing")),
    actions: [{ label: t("action.close") }],
  });
}

// Webhooks: addresses that are told what happens to keys.
import { get, patch, post, remove } from "../api.js";
import { openDialog } from "../dialog.js";
import { h, replace } from "../dom.js";
import { empty, failure, loading, wrong } from "../errors.js";
import { field, textInput } from "../form.js";
import { date, t } from "../i18n.js";
import { button, card, title } from "../parts.js";
import { toast, undoable } from "../toast.js";
import { accessHead } from "./access-tabs.js";
import { secretDialog } from "./secret.js";

const pathOf = (hook, rest = "") => `/api/webhooks/${encodeURIComponent(hook.id)}${rest}`;
const EVENTS = ["key.created", "key.changed", "key.deleted", "key.limited", "key.expired", "key.active", "traffic.gap", "drift.found"];
const removing = new Set();

export function webhooksView({ main, signal }) {
  title(t("access.webhooks"));
  const place = h("div", {}, loading());
  let hooks = [];
  const make = button(t("hooks.new"), { kind: "primary", name: "plus", onclick: () => createDialog(load) });
  replace(main, accessHead("#/access/webhooks"), card(t("access.webhooks"), { actions: [make] }, h("p", { class: "muted" }, t("hooks.text")), place));

  async function load() {
    try {
      hooks = await get("/api/webhooks", { signal });
      draw();
    } catch (error) {
      if (error.name !== "AbortError") replace(place, failure(error, load));
    }
  }

  function draw() {
    const shown = hooks.filter((hook) => !removing.has(hook.id));
    replace(place, shown.length > 0 ? h("ul", { class: "hooks", role: "list" }, shown.map(entry)) : empty(t("hooks.none"), t("hooks.none-text")));
  }

  function entry(hook) {
    const events = hook.events?.length > 0 ? hook.events.join(", ") : t("hooks.all");
    const labelled = (name, more) => ({ kind: "small", "aria-label": `${t(name)}: ${hook.url}`, ...more });
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
        button(t("hooks.test"), labelled("hooks.test", { onclick: () => test(hook) })),
        button(t("hooks.deliveries"), labelled("hooks.deliveries", { onclick: () => deliveries(hook) })),
        button(t(hook.is_active ? "key.disable" : "key.enable"), labelled(hook.is_active ? "key.disable" : "key.enable", { onclick: flip })),
        button(t("key.delete"), labelled("key.delete", { kind: "small danger", onclick: () => drop(hook) })),
      ),
    );
  }

  function drop(hook) {
    removing.add(hook.id);
    draw();
    const come = () => {
      removing.delete(hook.id);
      if (!signal.aborted) load();
    };
    undoable({ text: t("hooks.deleted"), undo: come, run: async ({ keepalive }) => (await remove(pathOf(hook), { keepalive }), come()) });
  }
  load();
}

function createDialog(done) {
  const url = textInput({ type: "url", inputmode: "url", required: true, placeholder: "https://" });
  const boxes = EVENTS.map((name) => [name, h("input", { type: "checkbox" })]);
  openDialog({
    title: t("hooks.new"),
    body: [field(t("hooks.url"), url, { hint: t("hooks.url-hint") }), h("fieldset", { class: "choices" }, h("legend", {}, t("hooks.events")), boxes.map(([name, box]) => h("label", { class: "check" }, box, h("code", { class: "mono" }, name))))],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("hooks.make"),
        run: async () => {
          if (!url.value.trim()) throw wrong(t("hooks.url-wrong"), url);
          const made = await post("/api/webhooks", { url: url.value.trim(), events: boxes.filter(([, box]) => box.checked).map(([name]) => name) });
          await done();
          setTimeout(() => secretDialog(t("hooks.made"), t("hooks.once"), made.secret));
        },
      },
    ],
  });
}

async function test(hook) {
  const result = await post(pathOf(hook, "/test"));
  if (result.delivered) toast(t("hooks.works"));
  else toast(`${t("hooks.failed")} ${result.last_error ?? result.status}`, { kind: "error" });
}

async function deliveries(hook) {
  const list = await get(pathOf(hook, "/deliveries"));
  const outcome = (one) => {
    if (one.delivered_at) return t("hooks.arrived");
    return [t(one.next_try_at ? "hooks.waiting" : "hooks.given-up"), one.last_error && h("span", { class: "muted", lang: "en" }, ` ${one.last_error}`)];
  };
  const row = (one) => h("tr", {}, h("th", { scope: "row" }, h("code", { class: "mono" }, one.event)), h("td", {}, date(one.created_at, "exact")), h("td", {}, outcome(one)));
  openDialog({
    title: t("hooks.deliveries"),
    wide: true,
    body: list.length > 0 ? h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": t("hooks.deliveries") }, h("table", { class: "plain" }, h("tbody", {}, list.map(row)))) : empty(t("hooks.nothing")),
    actions: [{ label: t("action.close") }],
  });
}

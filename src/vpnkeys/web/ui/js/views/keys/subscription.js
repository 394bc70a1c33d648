// The address of the customer's page, which apps load regularly. It is shown only when it is made.
import { get, keyPath, post, remove } from "../../api.js";
import { h, replace, selectAll } from "../../dom.js";
import { describe, statusOf } from "../../errors.js";
import { icon } from "../../icons.js";
import { date, t } from "../../i18n.js";
import { button, copy } from "../../parts.js";

/** @param {string} id */
export function subscriptionPart(id) {
  const path = keyPath(id, "/subscription");
  const content = h("div", { class: "subscription", hidden: true });

  async function load() {
    try {
      draw(await get(path));
    } catch (error) {
      // A server without customers' pages answers 404: then there is nothing to offer.
      content.hidden = statusOf(error) === 404;
      replace(content, h("div", { class: "problem" }, describe(error)));
    }
  }

  /** @param {{ exists: boolean, created_at: string | null, url?: string, self_signed?: boolean }} subscription */
  function draw({ exists, created_at: createdAt, url, self_signed: selfSigned }) {
    content.hidden = false;
    const make = button(t(exists ? "sub.renew" : "sub.make"), { name: exists ? "refresh" : "link", onclick: async () => draw({ exists: true, ...(await post(path)) }) });
    const end = async () => {
      await remove(path);
      draw({ exists: false, created_at: null });
    };
    replace(
      content,
      h("h3", {}, t("sub.title")),
      h("p", { class: "hint" }, url ? t("sub.once") : createdAt ? t("sub.exists", { date: date(createdAt, "date") }) : t("sub.none")),
      url && h("div", { class: "once" }, h("input", { class: "mono", readOnly: true, value: url, "aria-label": t("sub.address"), onfocus: selectAll }), h("button", { type: "button", class: "button", onclick: () => copy(url, t("copied")) }, icon("copy"), t("action.copy"))),
      selfSigned && h("p", { class: "hint" }, t("sub.self-signed")),
      h("div", { class: "row wrap" }, make, exists && button(t("sub.end"), { kind: "danger", onclick: end })),
    );
  }

  load();
  return content;
}

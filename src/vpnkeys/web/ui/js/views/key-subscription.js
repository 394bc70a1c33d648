// The customer's own page: an address that apps ask again and again. It is shown when it is made, and never again.
import { get, keyPath, post, remove } from "../api.js";
import { h, replace } from "../dom.js";
import { describe } from "../errors.js";
import { icon } from "../icons.js";
import { date, t } from "../i18n.js";
import { button, copy } from "../parts.js";

export function subscriptionPart(id) {
  const path = keyPath(id, "/subscription");
  const place = h("div", { class: "subscription", hidden: true });

  async function load() {
    try {
      draw(await get(path));
    } catch (error) {
      // A server that has none of this says so, and nothing is offered.
      place.hidden = error.status === 404;
      replace(place, h("div", { class: "problem" }, describe(error)));
    }
  }

  function draw({ exists, created_at: createdAt, url }) {
    place.hidden = false;
    const make = button(t(exists ? "sub.renew" : "sub.make"), { name: exists ? "refresh" : "link", onclick: async () => draw({ exists: true, ...(await post(path)) }) });
    const end = exists && button(t("sub.end"), { kind: "danger", onclick: async () => draw({ ...(await remove(path)), exists: false }) });
    replace(
      place,
      h("h3", {}, t("sub.title")),
      h("p", { class: "hint" }, url ? t("sub.once") : exists ? t("sub.exists", { date: date(createdAt, "date") }) : t("sub.none")),
      url && h("div", { class: "once" }, h("input", { class: "mono", readOnly: true, value: url, "aria-label": t("sub.address"), onfocus: (event) => event.target.select() }), h("button", { type: "button", class: "button primary", onclick: () => copy(url, t("copied")) }, icon("copy"), t("action.copy"))),
      h("div", { class: "row wrap" }, make, end),
    );
  }

  load();
  return place;
}

// Dialogs: the browser's own, which hold the focus, close by Esc, and give the focus back.
import { describe } from "./errors.js";
import { h, newId, replace } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

// actions: [{label, kind, icon, run}]; `run` may be a promise: the button waits, and a refusal is shown in the dialog.
// What `run` returns ends the dialog, unless it is `false`. Without `run` the button just closes.
export function openDialog({ title, body, actions = [], wide = false, onclose }) {
  const id = newId("dialog");
  const problem = h("div", { class: "problem", role: "alert", hidden: true });
  const footer = h("footer", { class: "dialog-actions" });
  const dialog = h(
    "dialog",
    { class: wide ? "dialog wide" : "dialog", "aria-labelledby": id },
    h(
      "form",
      { class: "dialog-form", novalidate: true, onsubmit: submit },
      h("header", { class: "dialog-head" }, h("h2", { id }, title), closer()),
      h("div", { class: "dialog-body" }, body, problem),
      footer,
    ),
  );
  const returnTo = document.activeElement;

  function closer() {
    const close = { type: "button", class: "icon-button", "aria-label": t("action.close"), onclick: () => dialog.close() };
    return h("button", close, icon("close"));
  }

  function button(action, place) {
    const main = place === actions.length - 1;
    const look = `button ${action.kind ?? (main ? "primary" : "")}`;
    const type = main && action.run ? "submit" : "button";
    const element = h("button", { type, class: look }, action.icon && icon(action.icon), action.label);
    if (type === "button") element.addEventListener("click", () => (action.run ? perform(action, element) : dialog.close()));
    return element;
  }

  async function perform(action, element) {
    if (element.getAttribute("aria-busy") === "true") return;
    element.setAttribute("aria-busy", "true");
    problem.hidden = true;
    try {
      if ((await action.run()) !== false) dialog.close();
    } catch (error) {
      fail(error);
    } finally {
      element.removeAttribute("aria-busy");
    }
  }

  function fail(error) {
    replace(problem, describe(error));
    problem.hidden = false;
    error.field?.focus();
    if (!error.field) problem.scrollIntoView({ block: "nearest" });
  }

  function submit(event) {
    event.preventDefault();
    const action = actions.at(-1);
    if (action?.run) perform(action, footer.lastElementChild);
  }

  dialog.addEventListener("close", () => {
    dialog.remove();
    // What opened it may be gone: a row that was deleted, a view that was redrawn.
    if (!returnTo?.isConnected) document.querySelector("main h1")?.focus();
    onclose?.();
  });
  replace(footer, actions.map(button));
  footer.hidden = actions.length === 0;
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export const closeAllDialogs = () => document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());

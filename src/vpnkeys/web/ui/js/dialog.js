// Dialogs: the browser's own, which hold the focus, close by Esc, and give the focus back.
import { describe, fieldOf } from "./errors.js";
import { h, newId, replace } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

/**
 * Opens a dialog and returns it. An action closes it when its `run` is done; while `run` is at work its button waits, and
 * its error is shown in the dialog. An action without `run` only closes.
 * @param {{ title: string, body: Page.Child, actions?: Page.DialogAction[], wide?: boolean }} content
 */
export function openDialog({ title, body, actions = [], wide = false }) {
  const id = newId("dialog");
  const problem = h("div", { class: "problem", role: "alert", hidden: true });
  const buttons = actions.map(button);
  const dialog = h(
    "dialog",
    { class: wide ? "dialog wide" : "dialog", "aria-labelledby": id },
    h(
      "form",
      { class: "dialog-form", novalidate: true, onsubmit: submit },
      h("header", { class: "dialog-head" }, h("h2", { id }, title), closeButton()),
      h("div", { class: "dialog-body" }, body),
      problem,
      h("footer", { class: "dialog-actions", hidden: actions.length === 0 }, buttons),
    ),
  );
  const opener = document.activeElement;

  function closeButton() {
    const label = t("action.close");
    return h("button", { type: "button", class: "icon-button", "aria-label": label, onclick: close }, icon("close"));
  }

  function close() {
    dialog.close();
  }

  /**
   * Returns the button of an action. The last one is the main one, which Enter presses.
   * @param {Page.DialogAction} action
   * @param {number} index
   */
  function button(action, index) {
    const isMain = index === actions.length - 1;
    const type = isMain && action.run ? "submit" : "button";
    const element = h("button", { type, class: `button ${action.kind ?? (isMain ? "primary" : "")}` }, action.icon && icon(action.icon), action.label);
    if (type === "button") element.addEventListener("click", () => (action.run ? perform(action.run, element) : close()));
    return element;
  }

  /**
   * @param {() => unknown} run
   * @param {HTMLElement} element
   */
  async function perform(run, element) {
    if (element.getAttribute("aria-busy") === "true") return;
    element.setAttribute("aria-busy", "true");
    problem.hidden = true;
    try {
      await run();
      close();
    } catch (error) {
      fail(error);
    } finally {
      element.removeAttribute("aria-busy");
    }
  }

  /** @param {unknown} error */
  function fail(error) {
    replace(problem, describe(error));
    problem.hidden = false;
    fieldOf(error)?.focus();
  }

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    const run = actions.at(-1)?.run;
    const element = buttons.at(-1);
    if (run && element) perform(run, element);
  }

  dialog.addEventListener("close", () => {
    dialog.remove();
    // The opener may be gone: a row that was deleted, a view that was drawn again.
    if (!opener?.isConnected) document.querySelector("main")?.querySelector("h1")?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Closes every dialog. */
export function closeAllDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) if (dialog.open) dialog.close();
}

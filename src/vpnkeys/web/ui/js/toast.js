// Short messages at the edge, read aloud as they come; and deeds that wait until it is too late to say stop.
import { sentence } from "./errors.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

const SHOWN_MS = 5_000;
export const UNDO_MS = 7_000;

const pending = new Set();

const tray = () => document.getElementById("toasts");

export function toast(text, { kind = "done", lang = null } = {}) {
  const shown = h("div", { class: `toast ${kind}` }, icon(kind === "error" ? "warn" : "check"), h("p", { lang }, text));
  if (kind === "error") shown.append(dismiss(() => shown.remove()));
  tray().append(shown);
  if (kind !== "error") setTimeout(() => shown.remove(), SHOWN_MS);
}

export const toastError = (error) => toast([sentence(error), error.code && `(${error.code})`].filter(Boolean).join(" "), { kind: "error" });

function dismiss(close) {
  return h("button", { type: "button", class: "icon-button", "aria-label": t("action.dismiss"), onclick: close }, icon("close"));
}

// `run({keepalive})` is called when the time is over, or at once when the page is left; `undo` when somebody says stop.
export function undoable({ text, run, undo }) {
  const deed = { text, run, undo, left: UNDO_MS, since: 0, timer: 0, over: false };
  deed.element = h(
    "div",
    { class: "toast undo", style: { "--undo": `${UNDO_MS}ms` } },
    h("i", { class: "undo-clock", "aria-hidden": "true" }),
    h("p", {}, text),
    h("button", { type: "button", class: "button small", onclick: () => takeBack(deed) }, t("action.undo")),
  );
  // Who is about to press the button has all the time in the world.
  for (const event of ["pointerenter", "focusin"]) deed.element.addEventListener(event, () => hold(deed));
  for (const event of ["pointerleave", "focusout"]) deed.element.addEventListener(event, () => wait(deed));
  pending.add(deed);
  tray().append(deed.element);
  wait(deed);
}

function hold(deed) {
  if (!deed.timer) return;
  clearTimeout(deed.timer);
  deed.timer = 0;
  deed.left -= performance.now() - deed.since;
  deed.element.classList.add("held");
}

function wait(deed) {
  if (deed.timer || deed.over || deed.element.matches(":hover, :focus-within")) return;
  deed.since = performance.now();
  deed.timer = setTimeout(() => finish(deed), Math.max(deed.left, 0));
  deed.element.classList.remove("held");
}

function end(deed) {
  deed.over = true;
  clearTimeout(deed.timer);
  pending.delete(deed);
  deed.element.remove();
}

function takeBack(deed) {
  end(deed);
  deed.undo();
  toast(t("undo.done"));
}

async function finish(deed, keepalive = false) {
  end(deed);
  try {
    await deed.run({ keepalive });
  } catch (error) {
    deed.undo();
    toastError(error);
  }
}

export const undoNewest = () => pending.size > 0 && takeBack([...pending].at(-1));
export const finishAll = (keepalive = false) => Promise.all([...pending].map((deed) => finish(deed, keepalive)));

export function startUndo() {
  addEventListener("pagehide", () => finishAll(true));
  addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey && !writing && undoNewest()) event.preventDefault();
  });
}

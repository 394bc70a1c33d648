// Short messages at the edge of the page, which screen readers read at once, and actions that can be undone for a while.
import { sentence } from "./errors.js";
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

const SHOWN_MS = 5_000;
const UNDO_MS = 7_000;
const TICK_MS = 250;

/**
 * An action that waits for its time to be over.
 * @typedef {object} Pending
 * @property {Page.UndoableAction} action
 * @property {HTMLElement} element
 * @property {number} left milliseconds that remain
 * @property {number} since when the timer was started
 * @property {number} timer until the next tick; 0 while it is held
 * @property {boolean} over
 */

/** @type {Set<Pending>} */
const pending = new Set();

/**
 * Shows an element at the edge. On the sign-in page there is no edge, and nothing to show there.
 * @param {HTMLElement} element
 */
const show = (element) => document.getElementById("toasts")?.append(element);

/**
 * Shows a message: for some seconds, or an error until it is dismissed.
 * @param {Page.Child} text
 * @param {{ kind?: "done" | "error" }} [options]
 */
export function toast(text, { kind = "done" } = {}) {
  const shown = h("div", { class: `toast ${kind}` }, icon(kind === "error" ? "warn" : "check"), h("p", {}, text));
  if (kind === "error") shown.append(dismiss(() => shown.remove()));
  show(shown);
  if (kind !== "error") setTimeout(() => shown.remove(), SHOWN_MS);
}

/**
 * Shows an error; the server's own words are English in each language of the page, and are marked so.
 * @param {unknown} error
 */
export function toastError(error) {
  const { code, message } = /** @type {Page.Problem} */ (error ?? {});
  const text = sentence(error);
  toast([text === message ? h("span", { lang: "en" }, text) : text, code && ` (${code})`], { kind: "error" });
}

/** @param {() => void} close */
function dismiss(close) {
  return h("button", { type: "button", class: "icon-button", "aria-label": t("action.dismiss"), onclick: close }, icon("close"));
}

/**
 * Runs an action when the time to undo it is over, or at once when the page is left.
 * @param {Page.UndoableAction} action
 */
export function undoable(action) {
  const element = h(
    "div",
    { class: "toast undo", style: { "--undo": `${UNDO_MS}ms` } },
    h("i", { class: "undo-clock", "aria-hidden": "true" }),
    h("p"),
    h("button", { type: "button", class: "button small", onclick: () => undo(waiting) }),
    h("button", { type: "button", class: "button small danger", onclick: () => finish(waiting) }),
  );
  /** @type {Pending} */
  const waiting = { action, element, left: UNDO_MS, since: 0, timer: 0, over: false };
  say(waiting);
  // The time does not run while the pointer or the focus is on the message.
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => hold(waiting));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, () => wait(waiting));
  pending.add(waiting);
  show(element);
  wait(waiting);
}

/**
 * Writes the words of a message in the present language.
 * @param {Pending} waiting
 */
function say({ action, element }) {
  const words = action.words();
  const [undoIt, doIt] = element.querySelectorAll("button");
  setText(element.querySelector("p"), words.text);
  setText(undoIt, t("action.undo"));
  setText(doIt, words.now);
}

/**
 * Moves the messages of the page before into this edge, where those that wait get the words of its language.
 * @param {HTMLElement} edge
 */
export function moveMessages(edge) {
  edge.append(...(document.getElementById("toasts")?.children ?? []));
  pending.forEach(say);
}

/** @param {Pending} waiting */
function hold(waiting) {
  if (!waiting.timer) return;
  clearTimeout(waiting.timer);
  waiting.timer = 0;
  count(waiting);
  waiting.element.classList.add("held");
}

/**
 * Counts the time since the last tick, as far as the message could be seen and answered: a page that stood still, in a
 * busy browser or a sleeping computer, gave nobody that chance.
 * @param {Pending} waiting
 */
function count(waiting) {
  const passed = performance.now() - waiting.since;
  waiting.left -= document.hidden ? passed : Math.min(passed, 2 * TICK_MS);
  waiting.since = performance.now();
}

/** @param {Pending} waiting */
function wait(waiting) {
  if (waiting.timer || waiting.over || waiting.element.matches(":hover, :focus-within")) return;
  waiting.since = performance.now();
  waiting.element.classList.remove("held");
  next(waiting);
}

/** @param {Pending} waiting */
function next(waiting) {
  const tick = () => {
    count(waiting);
    if (waiting.left > 0) next(waiting);
    else finish(waiting);
  };
  waiting.timer = setTimeout(tick, Math.max(Math.min(waiting.left, TICK_MS), 0));
}

/** @param {Pending} waiting */
function end(waiting) {
  waiting.over = true;
  clearTimeout(waiting.timer);
  pending.delete(waiting);
  waiting.element.remove();
}

/** @param {Pending} waiting */
function undo(waiting) {
  end(waiting);
  waiting.action.undo();
  toast(t("undo.done"));
}

/**
 * Runs the action now; one that fails is undone.
 * @param {Pending} waiting
 * @param {boolean} [keepalive]
 */
async function finish(waiting, keepalive = false) {
  end(waiting);
  try {
    await waiting.action.run({ keepalive });
    toast(waiting.action.words().done);
  } catch (error) {
    waiting.action.undo();
    toastError(error);
  }
}

/** Undoes the newest action and returns whether there was one. */
function undoNewest() {
  const newest = [...pending].at(-1);
  if (newest) undo(newest);
  return newest !== undefined;
}

/** Runs all actions that still wait. */
export const finishAll = (keepalive = false) => Promise.all([...pending].map((waiting) => finish(waiting, keepalive)));

/** Lets Ctrl+Z undo, and runs what waits when the page is left. */
export function startUndo() {
  addEventListener("pagehide", () => finishAll(true));
  addEventListener("keydown", (event) => {
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey;
    // In a text field and in a dialog it is the browser's own.
    const isElsewhere = event.target instanceof Element && event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
    if (isUndo && !isElsewhere && undoNewest()) event.preventDefault();
  });
}

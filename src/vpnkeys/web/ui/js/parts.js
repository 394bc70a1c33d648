// Parts that several views are made of.
import { h, newId, setText } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, date, relative, t } from "./i18n.js";
import { toast, toastError } from "./toast.js";

/** @param {string} text */
export function title(text) {
  document.title = `${text} · vpnkeys`;
}

/**
 * Returns a button that waits while its work is being done.
 * @param {string} label
 * @param {{ onclick: () => unknown, kind?: string, name?: Page.IconName, "aria-label"?: string }} options
 */
export function button(label, { onclick, kind = "", name, ...more }) {
  return h("button", { type: "button", class: `button ${kind}`, onclick: busyWhile(onclick), ...more }, name && icon(name), label);
}

/**
 * Returns a button that is only an icon; its label is for the pointer and for screen readers.
 * @param {Page.IconName} name
 * @param {string} label
 * @param {() => unknown} onclick
 * @param {Page.Props} [more]
 */
export function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: busyWhile(onclick), ...more }, icon(name));
}

/**
 * Returns a listener that does the work, ignores presses while it is at work, and shows its error.
 * @param {() => unknown} work
 */
export function busyWhile(work) {
  return async (/** @type {Event} */ event) => {
    const element = event.currentTarget;
    if (!(element instanceof HTMLElement) || element.getAttribute("aria-busy") === "true") return;
    element.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      toastError(error);
    } finally {
      element.removeAttribute("aria-busy");
    }
  };
}

/** @param {Api.Status} status */
export const badge = (status) => h("span", { class: `badge ${status}`, data: { status } }, t(`status.${status}`));

/**
 * Changes a badge where its status differs.
 * @param {HTMLElement} element
 * @param {Api.Status} status
 */
export function setBadge(element, status) {
  if (element.dataset.status === status) return;
  element.className = `badge ${status}`;
  element.dataset.status = status;
  element.textContent = t(`status.${status}`);
}

/**
 * Returns a name that a user wrote; its reading direction ends with it.
 * @param {string} text
 */
export const named = (text) => h("bdi", { class: "name", dir: "auto" }, text);

/**
 * Returns who does something, in the reader's language where the server gave the name and no user.
 * @param {string} name
 */
export const actorName = (name) => (name === "the first API key" ? t("actor.first-key") : name);

/**
 * Returns a time with the exact one in its title; a dash where there is none.
 * @param {string | null} value
 * @param {"relative" | import("./i18n.js").DateStyle} [style]
 */
export function when(value, style = "relative") {
  if (!value) return h("span", { class: "muted" }, "—");
  const text = style === "relative" ? relative(value) : date(value, style);
  return h("time", { datetime: value.endsWith("Z") ? value : `${value}Z`, title: date(value, "exact") }, text);
}

/**
 * Returns a section with a heading, and actions beside it.
 * @param {string} heading
 * @param {{ actions?: Page.Child[], class?: string }} options
 * @param {...Page.Child} content
 */
export function card(heading, { actions = [], ...more }, ...content) {
  const id = newId("card");
  return h(
    "section",
    { class: "card", "aria-labelledby": id, ...more },
    h("header", { class: "card-head" }, h("h2", { id }, heading), actions.length > 0 && h("div", { class: "row" }, actions)),
    content,
  );
}

/**
 * Returns links to the views of one section.
 * @param {string} label
 * @param {[address: string, text: string][]} entries
 * @param {string} current
 */
export function tabs(label, entries, current) {
  const links = entries.map(([address, text]) => h("li", {}, h("a", { href: address, "aria-current": address === current ? "page" : null }, text)));
  return h("nav", { class: "tabs", "aria-label": label }, h("ul", { role: "list" }, links));
}

/**
 * Returns a row of choices of which one is chosen.
 * @template {string} Value
 * @param {string} label
 * @param {(readonly [value: Value, text: string])[]} choices
 * @param {Value} current
 * @param {(value: Value) => void} choose
 */
export function segments(label, choices, current, choose) {
  const name = newId("segment");
  const segment = choices.map(([value, text]) =>
    h(
      "label",
      { class: "segment" },
      h("input", { type: "radio", name, value, checked: value === current, onchange: () => choose(value) }),
      h("span", {}, text),
    ),
  );
  return h("fieldset", { class: "segments" }, h("legend", { class: "sr-only" }, label), segment);
}

/**
 * Puts the text into the clipboard and shows the message.
 * @param {string} text
 * @param {string} message
 */
export async function copy(text, message) {
  await navigator.clipboard.writeText(text);
  toast(message);
}

/**
 * Lets the browser save the text as a file.
 * @param {string} name
 * @param {string} text
 */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Returns a file name of letters and digits alone, whatever the key is called.
 * @param {string} name
 * @param {string} ending
 */
export function fileName(name, ending) {
  const stem = name.normalize("NFKC").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 60);
  return `${stem || "key"}.${ending}`;
}

/**
 * Returns an element for how much of its limit a key has used: a bar where there is a limit.
 * @returns {Page.UsageBar}
 */
export function usageBar() {
  const text = h("span", { class: "usage-text" });
  const level = h("i");
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, level);
  /** @type {Page.UsageBar["show"]} */
  const show = (used, limit) => {
    setText(text, limit ? t("usage.of", { used: bytes(used), limit: bytes(limit) }) : bytes(used));
    bar.hidden = !limit;
    const share = limit ? Math.min(used / limit, 1) : 0;
    level.style.setProperty("inline-size", `${(share * 100).toFixed(1)}%`);
    bar.dataset.level = share >= 1 ? "full" : share > 0.85 ? "high" : "fine";
  };
  return Object.assign(h("span", { class: "usage" }, text, bar), { show });
}

/**
 * Returns a bar for a share from 0 to 1; the words beside it say the same.
 * @param {number} share
 */
export function level(share) {
  const filled = h("i", { style: { "inline-size": `${(Math.min(Math.max(share, 0), 1) * 100).toFixed(1)}%` } });
  return h("span", { class: "bar", "aria-hidden": "true", data: { level: share >= 0.95 ? "full" : share > 0.85 ? "high" : "fine" } }, filled);
}

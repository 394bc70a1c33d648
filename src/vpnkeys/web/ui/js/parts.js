// Parts that several views are made of.
import { h, newId, setText, svg } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, date, relative, t } from "./i18n.js";
import { toast, toastError } from "./toast.js";

export function title(text) {
  document.title = `${text} · vpnkeys`;
}

export function button(label, { onclick, kind = "", name, ...more } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, onclick: busyWhile(onclick), ...more }, name && icon(name), label);
}

export function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: busyWhile(onclick), ...more }, icon(name));
}

// A second press while the first is at work does nothing; what goes wrong is told.
export function busyWhile(work) {
  return async (event) => {
    const element = event.currentTarget;
    if (element.getAttribute("aria-busy") === "true") return;
    element.setAttribute("aria-busy", "true");
    try {
      await work(event);
    } catch (error) {
      toastError(error);
    } finally {
      element.removeAttribute("aria-busy");
    }
  };
}

export const badge = (status) => h("span", { class: `badge ${status}`, data: { status } }, t(`status.${status}`));

export function setBadge(element, status) {
  if (element.dataset.status === status) return;
  element.className = `badge ${status}`;
  element.dataset.status = status;
  element.textContent = t(`status.${status}`);
}

// A name as somebody wrote it: its direction is its own and ends with it.
export const named = (text, props = {}) => h("bdi", { class: "name", dir: "auto", ...props }, text);

export function when(value, style = "relative") {
  if (!value) return h("span", { class: "muted" }, "—");
  const exact = date(value, "exact");
  const text = style === "relative" ? relative(value) : date(value, style);
  return h("time", { datetime: value.endsWith?.("Z") ? value : `${value}Z`, title: exact }, text);
}

export function card(heading, { actions = [], level = "h2", ...more } = {}, ...content) {
  const id = newId("card");
  return h(
    "section",
    { class: "card", "aria-labelledby": id, ...more },
    h("header", { class: "card-head" }, h(level, { id }, heading), actions.length > 0 && h("div", { class: "row" }, actions)),
    content,
  );
}

export function tabs(label, entries, current) {
  const link = ([address, text]) => h("li", {}, h("a", { href: address, "aria-current": address === current ? "page" : null }, text));
  return h("nav", { class: "tabs", "aria-label": label }, h("ul", { role: "list" }, entries.map(link)));
}

export function segments(label, choices, current, choose) {
  const name = newId("segment");
  const choice = ([value, text]) =>
    h(
      "label",
      { class: "segment" },
      h("input", { type: "radio", name, value, checked: value === current, onchange: () => choose(value) }),
      h("span", {}, text),
    );
  return h("fieldset", { class: "segments" }, h("legend", { class: "sr-only" }, label), choices.map(choice));
}

export async function copy(text, said) {
  await navigator.clipboard.writeText(text);
  toast(said);
}

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// A file's name is made of letters and digits alone, whatever the key is called.
export const fileName = (name, ending) => `${name.normalize("NFKC").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 60) || "key"}.${ending}`;

// How much of its limit is used: a bar where there is one.
export function usageBar() {
  const text = h("span", { class: "usage-text" });
  const fillBar = h("i");
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, fillBar);
  const element = h("span", { class: "usage" }, text, bar);
  element.show = (used, limit) => {
    setText(text, limit ? t("usage.of", { used: bytes(used), limit: bytes(limit) }) : bytes(used));
    bar.hidden = !limit;
    const share = limit ? Math.min(used / limit, 1) : 0;
    fillBar.style.setProperty("inline-size", `${(share * 100).toFixed(1)}%`);
    bar.dataset.level = share >= 1 ? "full" : share > 0.85 ? "high" : "fine";
  };
  return element;
}

// The last two minutes as a line; the number beside it says what it is now.
export function sparkline(width = 72, height = 20) {
  const line = svg("polyline", { points: "" });
  const element = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", focusable: "false", preserveAspectRatio: "none" }, line);
  element.show = (values, samples = 30) => {
    const shown = [...Array(samples).fill(0), ...values].slice(-samples);
    const top = Math.max(...shown, 12_500);
    const step = width / (samples - 1);
    line.setAttribute("points", shown.map((value, place) => `${(place * step).toFixed(1)},${(height - 1.5 - (value / top) * (height - 3)).toFixed(1)}`).join(" "));
    element.classList.toggle("still", !shown.some((value) => value > 0));
  };
  return element;
}

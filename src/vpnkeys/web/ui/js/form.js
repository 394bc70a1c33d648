// Form fields with label, hint and unit.
import { h, newId, setText } from "./dom.js";

/**
 * Returns the input with its label, and with hint and unit where they are given; a unit may follow the number in the input.
 * @param {string} label
 * @param {Page.Field} input
 * @param {{ hint?: string, unit?: string | ((n: number) => string), after?: Page.Child }} [more]
 */
export function field(label, input, { hint, unit, after } = {}) {
  const id = newId("field");
  input.id = id;
  const hintId = hint ? newId("hint") : null;
  if (hintId) input.setAttribute("aria-describedby", hintId);
  const units = h("span", { class: "unit" });
  const update = () => setText(units, typeof unit === "function" ? unit(Number(input.value)) : (unit ?? ""));
  if (typeof unit === "function") input.addEventListener("input", update);
  update();
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    unit || after ? h("div", { class: "with-unit" }, input, unit && units, after) : input,
    hint && h("p", { class: "hint", id: hintId }, hint),
  );
}

/** @param {Page.Props} more */
export const textInput = (more = {}) => h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...more });

/** @param {Page.Props} more */
export const numberInput = (more = {}) => h("input", { type: "number", inputmode: "decimal", min: 0, step: "any", autocomplete: "off", ...more });

/**
 * Returns a list to choose one value from.
 * @param {Page.Choice[]} choices
 * @param {string} current
 * @param {Page.Props} [more]
 */
export function select(choices, current, more = {}) {
  return h("select", more, choices.map(([value, text]) => h("option", { value, selected: value === current }, text)));
}

/**
 * Returns a time of the API, which is in UTC, as a field for local time holds it.
 * @param {string | null | undefined} value
 */
export function toLocalInput(value) {
  if (!value) return "";
  const there = new Date(`${value}Z`);
  return new Date(there.getTime() - there.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/**
 * Returns what a field for local time holds as a time of the API.
 * @param {string} text
 */
export const fromLocalInput = (text) => (text ? new Date(text).toISOString().slice(0, 19) : null);

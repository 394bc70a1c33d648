// Fields with their label, hint and unit.
import { h, newId } from "./dom.js";

export function field(label, input, { hint, unit, after } = {}) {
  const id = newId("field");
  input.id = id;
  const hintId = hint ? newId("hint") : null;
  if (hintId) input.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    unit || after ? h("div", { class: "with-unit" }, input, unit && h("span", { class: "unit" }, unit), after) : input,
    hint && h("p", { class: "hint", id: hintId }, hint),
  );
}

export const textInput = (more = {}) => h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...more });
export const numberInput = (more = {}) => h("input", { type: "number", inputmode: "decimal", min: 0, step: "any", autocomplete: "off", ...more });

export function select(choices, current, more = {}) {
  return h("select", more, choices.map(([value, text]) => h("option", { value, selected: value === current }, text)));
}

// What is typed in a field for local time, from and to the API's UTC.
export function toLocalInput(value) {
  if (!value) return "";
  const there = new Date(`${value}Z`);
  return new Date(there.getTime() - there.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export const fromLocalInput = (text) => (text ? new Date(text).toISOString().slice(0, 19) : null);

// Elements are made of names, values and text, never of markup: nothing that a stranger wrote can become an element.

const SVG = "http://www.w3.org/2000/svg";

// h("p", { class: "note", onclick: f, "aria-live": "polite", data: { id } }, "text", element, [more])
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const AS_PROPERTY = new Set(["value", "checked", "indeterminate", "disabled", "hidden", "selected", "readOnly"]);

function set(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (AS_PROPERTY.has(name)) element[name] = false;
  } else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "data") Object.assign(element.dataset, value);
  // By the object model: a style attribute would be an inline style, which the page's policy forbids.
  else if (name === "style") for (const [rule, text] of Object.entries(value)) element.style.setProperty(rule, text);
  else if (AS_PROPERTY.has(name)) element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Text is set only when it differs: screen readers are not told the same twice, and a selection stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let lastId = 0;
export const newId = (stem = "id") => `${stem}-${++lastId}`;

// Rows stay who they are: kept by key, made once, moved only when their order changes.
export function reconcile(parent, items, keyOf, make, update) {
  const kept = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const row = kept.get(key) ?? Object.assign(make(item), {});
    row.dataset.key = key;
    kept.delete(key);
    update(row, item);
    if (row === place) place = place.nextElementSibling;
    else parent.insertBefore(row, place);
  }
  for (const row of kept.values()) row.remove();
}

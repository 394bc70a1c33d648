// Elements are made of names, values and text, never of markup: no text from a user can become an element.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Returns a new HTML element: h("p", { class: "note", onclick: f, data: { id } }, "text", element, [more]).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Page.Props} [props]
 * @param {...Page.Child} children
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * Returns a new SVG element.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Page.Props} [props]
 * @param {...Page.Child} children
 */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/**
 * Sets the properties, appends the children and returns the element.
 * @template {HTMLElement | SVGElement} Made
 * @param {Made} element
 * @param {Page.Props} props
 * @param {Page.Child[]} children
 */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) set(element, name, value);
  element.append(...nodes(children));
  return element;
}

/**
 * Returns the children in one flat list, without those that add nothing.
 * @param {readonly Page.Child[]} children
 * @returns {(Node | string)[]}
 */
function nodes(children) {
  return children.flatMap((child) => {
    if (child === null || child === undefined || child === false) return [];
    if (child instanceof Node) return [child];
    return typeof child === "object" ? nodes(child) : [String(child)];
  });
}

// Their attributes are only what they begin with; what the user sees is the property.
const AS_PROPERTY = new Set(["value", "checked", "indeterminate", "disabled", "hidden", "selected", "readOnly"]);

/**
 * Sets one property, attribute, listener, style or group of data attributes.
 * @param {HTMLElement | SVGElement} element
 * @param {string} name
 * @param {Page.Property} value
 */
function set(element, name, value) {
  if (value === null || value === undefined) return;
  if (AS_PROPERTY.has(name)) Object.assign(element, { [name]: value });
  else if (value === false) return;
  else if (typeof value === "function") element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
  else if (typeof value !== "object") element.setAttribute(name, value === true ? "" : String(value));
  else if (name === "data") Object.assign(element.dataset, value);
  // By the object model: a style attribute would be an inline style, which the page's policy forbids.
  else for (const [rule, text] of Object.entries(value)) element.style.setProperty(rule, text);
}

/**
 * Replaces everything in the element by the children and returns it.
 * @template {Element} Given
 * @param {Given} element
 * @param {...Page.Child} children
 */
export function replace(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/**
 * Sets the text where it differs: a screen reader does not read the same text twice, and a selection stays.
 * @param {Element | null} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

let lastId = 0;

/** Returns an id that no element of the page has yet. */
export const newId = (stem = "id") => `${stem}-${++lastId}`;

/**
 * Selects all text of the field that an event came from.
 * @param {Event} event
 */
export function selectAll({ currentTarget }) {
  if (currentTarget instanceof HTMLInputElement || currentTarget instanceof HTMLTextAreaElement) currentTarget.select();
}

/**
 * Makes the parent's rows follow the items: each row is made once, kept by its key, and moved only when the order changes.
 * @template Item
 * @template {HTMLElement} Row
 * @param {HTMLElement} parent
 * @param {Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => Row} make
 * @param {(row: Row, item: Item) => void} update
 */
export function reconcile(parent, items, keyOf, make, update) {
  // Only `make` ever puts anything into this parent.
  const rows = /** @type {Row[]} */ ([...parent.children]);
  const kept = new Map(rows.map((row) => [row.dataset.key, row]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const row = kept.get(key) ?? make(item);
    row.dataset.key = key;
    kept.delete(key);
    update(row, item);
    if (row === next) next = next.nextElementSibling;
    else parent.insertBefore(row, next);
  }
  for (const row of kept.values()) row.remove();
}

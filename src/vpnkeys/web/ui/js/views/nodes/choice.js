// Where a new key should be: asked only where there is a choice.
import { get } from "../../api.js";
import { h } from "../../dom.js";
import { field } from "../../form.js";
import { number, t } from "../../i18n.js";

const REMEMBERED_MS = 30_000;

/** @type {Promise<Api.Node[]> | null} */
let asked = null;
let askedAt = -REMEMBERED_MS;

/** Returns the nodes as they were half a minute ago at most; they say what a choice needs. */
function lately() {
  if (!asked || performance.now() - askedAt > REMEMBERED_MS) {
    askedAt = performance.now();
    asked = get("/api/nodes");
    asked.catch(() => (asked = null));
  }
  return asked;
}

/**
 * Returns an element that is empty until it is known that there are several nodes, and a function that reads the choice.
 * @returns {{ element: HTMLElement, read: () => { node?: string, group?: string } }}
 */
export function nodeChoice() {
  const element = h("div", { hidden: true });
  const select = h("select");
  lately()
    .then((nodes) => {
      if (nodes.length < 2) return;
      const groups = [...new Set(nodes.map((node) => node.group))].filter((group) => group !== "default");
      select.append(
        h("option", { value: "" }, t("nodes.any")),
        ...groups.map((group) => h("option", { value: `group ${group}` }, t("nodes.any-of", { group }))),
        ...nodes.map((node) => h("option", { value: `node ${node.name}`, disabled: free(node) === 0 || node.state !== "up" }, nodeText(node))),
      );
      element.append(field(t("nodes.where"), select));
      element.hidden = false;
    })
    .catch(() => null); // without the choice the server chooses
  const read = () => {
    const [kind, name] = select.value.split(" ");
    return name ? { [kind]: name } : {};
  };
  return { element, read };
}

/** @param {Api.Node} node */
const free = (node) => (node.places === null ? 0 : Math.max(0, node.places - node.keys));

/**
 * Returns a node with what a choice needs to know of it: free places, or why it has none.
 * @param {Api.Node} node
 */
export function nodeText(node) {
  return `${node.name} · ${node.state === "up" ? t("nodes.free", { n: number(free(node)) }) : t(`node.state.${node.state}`)}`;
}

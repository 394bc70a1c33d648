// One node in the list. Its row is made once and updated as long as the node is there.
import { h, replace, setText } from "../../dom.js";
import { bytes, number, rate, t } from "../../i18n.js";
import { button, level, named, when } from "../../parts.js";
import { may, state, usageOf } from "../../store.js";
import { changeState, lostDialog, removeDialog } from "./dialogs.js";
import { moveDialog, replaceDialog } from "./moving.js";

/** The id of the server's own node, whose programs are the server's. */
const LOCAL = 1;
const WRONG_CLOCK_S = 5;
const FAILED_SHOWN = 10;

/** @type {Record<Api.NodeState, string>} the badge of each state: its colour is that of a key's status */
const BADGES = { up: "active", joining: "limited", silent: "expired", drained: "disabled", lost: "disabled" };

/**
 * The elements of a row that change.
 * @typedef {object} Part
 * @property {HTMLElement} name
 * @property {HTMLElement} badge
 * @property {HTMLElement} where
 * @property {HTMLElement} facts
 * @property {HTMLElement} rate
 * @property {HTMLElement} troubles
 * @property {HTMLElement} actions
 * @property {string} drawn what the row shows, as text
 * @property {string} offered what its buttons do, as text
 * @property {Api.Node | null} node
 * @property {() => Promise<void>} done
 */

/** @type {WeakMap<Element, Part>} */
const parts = new WeakMap();

/** @param {() => Promise<void>} done called when something was changed */
export function makeRow(done) {
  /** @type {Part} */
  const part = {
    name: h("h3"),
    badge: h("span"),
    where: h("span", { class: "muted" }),
    facts: h("dl", { class: "node-facts" }),
    rate: h("span", { class: "muted" }),
    troubles: h("ul", { class: "findings" }),
    actions: h("div", { class: "row wrap" }),
    drawn: "",
    offered: "",
    node: null,
    done,
  };
  const row = h("li", { class: "node" }, h("div", { class: "node-head" }, part.name, part.badge, part.where), part.facts, part.troubles, part.actions);
  parts.set(row, part);
  return row;
}

/**
 * Sets everything that differs from what the row shows.
 * @param {Element} row
 * @param {Api.Node} node
 * @param {boolean} hasOthers
 */
export function updateRow(row, node, hasOthers) {
  const part = parts.get(row);
  if (!part) return;
  part.node = node;
  const drawn = JSON.stringify([{ ...node, desired: 0, applied: 0 }, isInStep(node), hasOthers]);
  if (drawn !== part.drawn) {
    part.drawn = drawn;
    replace(part.name, named(node.name));
    part.badge.className = `badge ${BADGES[node.state]}`;
    setText(part.badge, t(`node.state.${node.state}`));
    setText(part.where, [node.address, hasOthers && t("nodes.of-group", { group: node.group })].filter(Boolean).join(" · "));
    replace(part.facts, facts(node, part.rate));
    replace(part.troubles, troubles(node));
    part.troubles.hidden = part.troubles.childElementCount === 0;
    offer(part, node, hasOthers);
  }
  updateLive(row);
}

/**
 * Sets what changes with every sample of the traffic.
 * @param {Element} row
 */
export function updateLive(row) {
  const part = parts.get(row);
  if (!part?.node) return;
  const { name } = part.node;
  const now = (state.keys ?? []).filter((key) => key.node === name).reduce((sum, key) => sum + usageOf(key.id).rate, 0);
  setText(part.rate, now > 0 ? ` · ${rate(now)}` : "");
}

/**
 * Returns whether the node has the keys that it should have.
 * @param {Api.Node} node
 */
const isInStep = (node) => node.applied === node.desired;

/**
 * Returns what is known of the node, each with its label.
 * @param {Api.Node} node
 * @param {HTMLElement} rateNow
 */
function facts(node, rateNow) {
  const none = () => h("span", { class: "muted" }, "—");
  const share = node.cpu_share;
  /** @type {[label: Page.MessageName, ...value: Page.Child[]][]} */
  const rows = [
    ["nodes.keys", node.places === null ? number(node.keys) : [t("figure.of", { n: node.keys, all: node.places }), level(node.keys / Math.max(node.places, 1))]],
    ["nodes.traffic", bytes(node.traffic_bytes), rateNow],
    ["overview.cpu", share === null || node.state === "silent" ? none() : [t("nodes.percent", { n: Math.round(share * 100) }), level(share)]],
    ["nodes.follows", step(node)],
    ["nodes.heard", node.id === LOCAL ? t("time.now") : when(node.seen_at)],
    ["nodes.versions", node.version ? `${node.version} · Xray ${node.xray_version}` : none()],
  ];
  return rows.map(([label, ...value]) => h("div", {}, h("dt", {}, t(label)), h("dd", {}, value)));
}

/** @param {Api.Node} node */
function step(node) {
  if (node.state === "joining" || node.state === "lost") return h("span", { class: "muted" }, "—");
  return t(isInStep(node) ? "nodes.in-step" : "nodes.behind", { n: Math.round(node.lag_s) });
}

/**
 * Returns what is wrong with the node, and what to do about it.
 * @param {Api.Node} node
 */
function troubles(node) {
  const lines = [];
  if (node.state === "silent") lines.push(t("nodes.is-silent"));
  if (node.state === "joining") lines.push(t("nodes.is-joining"));
  if (node.state === "lost") lines.push(t("nodes.is-lost"));
  if (node.state === "up" && node.names_ready === 0) lines.push(t("nodes.no-name"));
  const ahead = node.clock_ahead_s ?? 0;
  if (Math.abs(ahead) > WRONG_CLOCK_S) lines.push(t(ahead > 0 ? "nodes.clock-ahead" : "nodes.clock-behind", { n: Math.round(Math.abs(ahead)) }));
  const failed = Object.entries(node.failed);
  const links = failed.slice(0, FAILED_SHOWN).map(([id, code]) => [" ", h("a", { href: `#/keys/${encodeURIComponent(id)}` }, keyName(id)), " ", h("code", { class: "code" }, code)]);
  return [...lines.map((line) => h("li", {}, line)), failed.length > 0 && h("li", {}, h("span", {}, t("nodes.failed", { n: failed.length }), links))];
}

/** @param {string} id */
function keyName(id) {
  const key = state.keys?.find((one) => one.id === id);
  return key ? named(key.name) : id;
}

/**
 * Offers what can be done with the node as it is. The buttons are made anew only when that is something else: one that has
 * the focus keeps it.
 * @param {Part} part
 * @param {Api.Node} node
 * @param {boolean} hasOthers
 */
function offer(part, node, hasOthers) {
  const offered = JSON.stringify([node.id, node.name, node.state, node.keys > 0, hasOthers]);
  if (offered === part.offered) return;
  part.offered = offered;
  const now = () => part.node ?? node;
  /**
   * @param {Page.MessageName} name
   * @param {() => unknown} onclick
   * @param {string} [kind]
   */
  const action = (name, onclick, kind = "small") => button(t(name), { kind, onclick, "aria-label": `${t(name)}: ${node.name}` });
  const isOut = node.state === "drained" || node.state === "lost";
  const drain = node.state !== "joining" && hasOthers && (isOut ? action("nodes.up", () => changeState(now(), "up", part.done)) : action("nodes.drain", () => changeState(now(), "drained", part.done)));
  const move = node.keys > 0 && hasOthers && action("nodes.move", () => moveDialog(now(), part.done));
  const far = node.id !== LOCAL && [
    node.state !== "joining" && action("nodes.replace", () => replaceDialog(now(), part.done)),
    node.state !== "joining" && node.state !== "lost" && action("nodes.lost", () => lostDialog(now(), part.done), "small danger"),
    action("nodes.remove", () => removeDialog(now(), part.done), "small danger"),
  ];
  replace(part.actions, may("admin") && [drain, move, far]);
  part.actions.hidden = part.actions.childElementCount === 0;
}

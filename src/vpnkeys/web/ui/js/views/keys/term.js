// When a key's time ends: at a date, so long after its first connection, or never.
import { h } from "../../dom.js";
import { compare, t } from "../../i18n.js";
import { when } from "../../parts.js";

/** @type {[unit: "day" | "hour" | "minute" | "second", length: number][]} */
const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/**
 * Returns a term such as "1 day 12 hours", exactly, without the units of which it has none.
 * @param {number} seconds
 */
export function term(seconds) {
  let left = seconds;
  const parts = UNITS.map(([unit, length]) => {
    const n = Math.floor(left / length);
    left -= n * length;
    return n > 0 && t(`term.${unit}`, { n }).replace(" ", "\u00a0"); // a line does not end between them
  });
  return parts.filter(Boolean).join(" ");
}

/**
 * Returns whether the key's time begins with its first byte, and has not begun.
 * @param {Api.Key} key
 */
export const isWaiting = (key) => Boolean(key.expires_after_s && !key.expires_at);

/**
 * Returns whether the key never expires.
 * @param {Api.Key} key
 */
export const isEndless = (key) => !key.expires_at && !isWaiting(key);

/**
 * Returns when the key expires; what never does is muted.
 * @param {Api.Key} key
 * @param {"relative" | "time"} [style] of a date
 */
export function ending(key, style = "relative") {
  if (isEndless(key)) return h("span", { class: "muted" }, t("limits.never"));
  if (isWaiting(key)) return h("span", { class: "waiting" }, t("limits.from-first", { term: term(key.expires_after_s ?? 0) }));
  return when(key.expires_at, style);
}

/**
 * Orders keys by their end: dates, then times that have not begun by their length, then those that never expire.
 * @param {Api.Key} one
 * @param {Api.Key} other
 */
export function byEnd(one, other) {
  const kind = (/** @type {Api.Key} */ key) => (key.expires_at ? 0 : isWaiting(key) ? 1 : 2);
  if (kind(one) !== kind(other)) return kind(one) - kind(other);
  return kind(one) === 1 ? (one.expires_after_s ?? 0) - (other.expires_after_s ?? 0) : compare(one.expires_at ?? "", other.expires_at ?? "");
}

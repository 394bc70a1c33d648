// What the page knows at this moment, and events for its changes. Nothing here outlives the page.

/** @type {Page.State} */
export const state = {
  session: null,
  keys: null, // null: not loaded yet
  health: null,
  usage: new Map(), // by the key's id
  totalRate: 0,
  live: "connecting",
  leaving: new Set(), // ids of keys whose deletion can still be undone
};

/** @type {Page.Usage} */
const NO_USAGE = { total: 0, inWindow: 0, left: null, resetsAt: null, devices: 0, lastSeen: null, rate: 0 };

const bus = new EventTarget();
let sampledAt = 0;

/**
 * Calls the topic's listeners.
 * @param {Page.Topic} topic
 */
export const emit = (topic) => bus.dispatchEvent(new Event(topic));

/**
 * Calls the listener at every change of the topics, until the signal ends.
 * @param {Page.TopicList} topics separated by a space
 * @param {() => unknown} listener
 * @param {AbortSignal} [signal]
 */
export function on(topics, listener, signal) {
  for (const topic of topics.split(" ")) bus.addEventListener(topic, listener, { signal });
}

/** @param {Api.Key[]} keys */
export function setKeys(keys) {
  state.keys = keys;
  emit("keys");
}

/** @param {Api.Health} health */
export function setHealth(health) {
  state.health = health;
  emit("health");
}

/** Returns the keys without those that are being deleted. */
export const visibleKeys = () => (state.keys ?? []).filter((key) => !state.leaving.has(key.id));

/**
 * Returns the key with this id or UUID.
 * @param {string} id
 */
export const keyOf = (id) => state.keys?.find((key) => key.id === id || key.uuid === id);

/** Returns the names of the nodes that have keys, in order. */
export const nodesOfKeys = () => [...new Set((state.keys ?? []).map((key) => key.node))].sort();

/** Returns whether keys live on more than this server alone. */
export const hasNodes = () => state.keys?.some((key) => key.node !== "local") ?? false;

/**
 * Returns what the key has used; zeros where nothing is known yet.
 * @param {string} id
 */
export const usageOf = (id) => state.usage.get(id) ?? NO_USAGE;

/**
 * Returns the bytes that are shown as used: in the period of the key's limit, or where it has none, since it was made.
 * @param {Api.Key} key
 */
export const usedBy = (key) => (key.traffic_limit_bytes ? usageOf(key.id).inWindow : usageOf(key.id).total);

/**
 * Adds or replaces a key that the API answered with, so that the change shows before its event comes.
 * @param {Api.Key} key
 */
export function putKey(key) {
  const keys = state.keys ?? [];
  const isKnown = keys.some((other) => other.id === key.id);
  setKeys(isKnown ? keys.map((other) => (other.id === key.id ? key : other)) : [...keys, key]);
}

/** @param {string[]} ids */
export function dropKeys(ids) {
  if (state.keys) setKeys(state.keys.filter((key) => !ids.includes(key.id)));
}

/**
 * Takes a sample of all counters; a rate is the difference to the sample before.
 * @param {Api.Traffic} traffic
 */
export function setTraffic(traffic) {
  const now = performance.now();
  const seconds = (now - sampledAt) / 1000;
  const usage = new Map();
  state.totalRate = 0;
  for (const one of traffic.keys) {
    const before = state.usage.get(one.key_id);
    const rate = before && seconds > 0.5 ? Math.max(0, one.total_bytes - before.total) / seconds : 0;
    const window = { inWindow: one.used_in_window_bytes ?? 0, left: one.remaining_bytes, resetsAt: one.resets_at };
    usage.set(one.key_id, { total: one.total_bytes, ...window, devices: one.devices, lastSeen: one.last_seen, rate });
    state.totalRate += rate;
  }
  state.usage = usage;
  sampledAt = now;
  emit("traffic");
}

/** Forgets everything that belonged to the session. */
export function forgetEverything() {
  Object.assign(state, { session: null, keys: null, health: null, usage: new Map(), totalRate: 0 });
  state.leaving.clear();
}

/** @type {Api.Scope[]} */
const SCOPES = ["read", "keys", "admin"];

/**
 * Returns whether the session's scope includes this one.
 * @param {Api.Scope} scope
 */
export const may = (scope) => state.session !== null && SCOPES.indexOf(state.session.scope) >= SCOPES.indexOf(scope);

// What the page knows at this moment, and who wants to hear when it changes. Nothing of it outlives the page.

export const state = {
  session: null, // {csrf, id, name, scope}
  keys: null, // as GET /api/keys; null: not known yet
  health: null, // as GET /health
  usage: new Map(), // key id -> {total, devices, lastSeen, rate, rates}
  totalRate: 0,
  totalRates: [], // the newest last, one every two seconds
  live: "connecting", // or "open", "lost"
  leaving: new Set(), // ids of keys that are deleted unless somebody says stop
};

const SAMPLES = 60;
const bus = new EventTarget();
let sampledAt = 0;

export const tell = (topic) => bus.dispatchEvent(new Event(topic));

export function on(topics, listener, signal) {
  for (const topic of topics.split(" ")) bus.addEventListener(topic, listener, { signal });
}

export function setKeys(keys) {
  state.keys = keys;
  tell("keys");
}

export const visibleKeys = () => (state.keys ?? []).filter((key) => !state.leaving.has(key.id));
export const keyOf = (id) => state.keys?.find((key) => key.id === id || key.uuid === id);
export const usageOf = (id) => state.usage.get(id) ?? NOTHING;

const NOTHING = { total: 0, devices: 0, lastSeen: null, rate: 0, rates: [] };

// A change that the API confirmed shows at once, without waiting for the event that tells everybody.
export function putKey(key) {
  const others = (state.keys ?? []).filter((other) => other.id !== key.id);
  const place = (state.keys ?? []).findIndex((other) => other.id === key.id);
  others.splice(place < 0 ? others.length : place, 0, key);
  setKeys(others);
}

export function dropKeys(ids) {
  if (state.keys) setKeys(state.keys.filter((key) => !ids.includes(key.id)));
}

export function setTraffic(traffic) {
  const now = performance.now();
  const seconds = (now - sampledAt) / 1000;
  const known = new Map();
  state.totalRate = 0;
  for (const one of traffic.keys) {
    const before = state.usage.get(one.key_id);
    const rate = before && seconds > 0.5 ? Math.max(0, one.total_bytes - before.total) / seconds : 0;
    const rates = [...(before?.rates ?? []), rate].slice(-SAMPLES);
    known.set(one.key_id, { total: one.total_bytes, devices: one.devices, lastSeen: one.last_seen, rate, rates });
    state.totalRate += rate;
  }
  state.totalRates = [...state.totalRates, state.totalRate].slice(-SAMPLES);
  state.usage = known;
  sampledAt = now;
  tell("traffic");
}

export function forgetEverything() {
  Object.assign(state, { session: null, keys: null, health: null, usage: new Map(), totalRate: 0, totalRates: [] });
  state.leaving.clear();
}

const SCOPES = ["read", "keys", "admin"];
export const may = (scope) => SCOPES.indexOf(state.session?.scope) >= SCOPES.indexOf(scope);

// The server's stream of changes (/api/events). A lost connection is opened again, after pauses of up to 15 seconds.
import { addressOf, get } from "./api.js";
import { emit, setHealth, setKeys, setTraffic, state } from "./store.js";

const LONGEST_PAUSE_MS = 15_000;
// The server sends something at least every few seconds: after this silence the connection is dead, though still open.
const SILENCE_MS = 20_000;

/** @type {EventSource | null} */
let source = null;
let pause = 1000;
let retryTimer = 0;
let silenceTimer = 0;

/** Opens the stream; one that is open already is closed first. */
export function startLive() {
  stopLive();
  source = new EventSource(addressOf("/api/events"));
  source.onopen = () => {
    pause = 1000;
    setLive("open");
  };
  source.onerror = reconnect;
  receive("keys", setKeys);
  receive("traffic", setTraffic);
  receive("health", setHealth);
  watchSilence();
}

/** Closes the stream and stops its timers. */
export function stopLive() {
  source?.close();
  source = null;
  clearTimeout(retryTimer);
  clearTimeout(silenceTimer);
}

/**
 * Passes what an event of this name carries to the function.
 * @template Data
 * @param {string} name
 * @param {(data: Data) => void} take
 */
function receive(name, take) {
  source?.addEventListener(name, (event) => {
    watchSilence();
    take(JSON.parse(event.data));
  });
}

function watchSilence() {
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(reconnect, SILENCE_MS);
}

function reconnect() {
  stopLive();
  setLive("lost");
  // Not all pages at the same moment when a server comes back.
  retryTimer = setTimeout(retry, pause * (0.8 + Math.random() / 5));
  pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
}

// The plain request shows the present keys where a proxy holds events back, and notices that the session is over.
async function retry() {
  try {
    setKeys(await get("/api/keys"));
  } catch {
    if (!state.session) return;
  }
  if (state.session) startLive();
}

/** @param {Page.State["live"]} now */
function setLive(now) {
  state.live = now;
  emit("live");
}

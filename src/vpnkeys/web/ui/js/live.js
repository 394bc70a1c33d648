// What the server tells by itself (/api/events). Lost connections come back, ever more slowly, up to 15 seconds.
import { get } from "./api.js";
import { setKeys, setTraffic, state, tell } from "./store.js";

const LONGEST_PAUSE_MS = 15_000;
// A server that says nothing for so long is gone, even if the connection does not know yet.
const SILENCE_MS = 20_000;

let source = null;
let pause = 1000;
let again = 0;
let watch = 0;

export function startLive() {
  stopLive();
  source = new EventSource("/api/events");
  source.onopen = () => {
    pause = 1000;
    setLive("open");
  };
  source.onerror = lost;
  source.addEventListener("keys", heard((data) => setKeys(data)));
  source.addEventListener("traffic", heard((data) => setTraffic(data)));
  source.addEventListener("health", heard((data) => ((state.health = data), tell("health"))));
  listen();
}

export function stopLive() {
  source?.close();
  source = null;
  clearTimeout(again);
  clearTimeout(watch);
}

function heard(take) {
  return (event) => {
    listen();
    take(JSON.parse(event.data));
  };
}

function listen() {
  clearTimeout(watch);
  watch = setTimeout(lost, SILENCE_MS);
}

function lost() {
  stopLive();
  setLive("lost");
  again = setTimeout(retry, pause * (0.8 + Math.random() / 5));
  pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
}

// Also by a plain request: it shows what is, where something on the way swallows events, and finds a session's end.
async function retry() {
  try {
    setKeys(await get("/api/keys"));
  } catch {
    if (!state.session) return;
  }
  if (state.session) startLive();
}

function setLive(now) {
  state.live = now;
  tell("live");
}

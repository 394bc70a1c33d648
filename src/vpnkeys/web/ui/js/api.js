// The API as this page asks it: same origin, by the session's cookie, which no script can read.
import { state, tell } from "./store.js";

export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    Object.assign(this, { status, code });
  }
}

const SAFE = new Set(["GET", "HEAD"]);

async function ask(method, path, { body, keepalive = false, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (!SAFE.has(method) && state.session) headers["X-CSRF-Token"] = state.session.csrf;
  const given = { method, headers, keepalive, signal, credentials: "same-origin", cache: "no-store" };
  let answer;
  try {
    answer = await fetch(path, { ...given, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "no_connection", "");
  }
  const content = await answer.json().catch(() => null);
  if (answer.ok) return content;
  throw refusal(answer, content);
}

function refusal(answer, content) {
  const error = new ApiError(answer.status, content?.code ?? `http_${answer.status}`, content?.detail ?? answer.statusText);
  // A token that may not do this is still somebody's; anything else that is 401 is nobody's.
  if (error.status === 401 && error.code !== "insufficient_scope" && state.session) tell("signed-out");
  return error;
}

export const get = (path, options) => ask("GET", path, options);
export const post = (path, body, options) => ask("POST", path, { body: body ?? {}, ...options });
export const patch = (path, body) => ask("PATCH", path, { body });
export const remove = (path, options) => ask("DELETE", path, options);

export const keyPath = (id, rest = "") => `/api/keys/${encodeURIComponent(id)}${rest}`;

// "" is left out.
export function query(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `${path}?${new URLSearchParams(given)}`;
}

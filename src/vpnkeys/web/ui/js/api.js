// Requests to the API: same origin, with the session's cookie, which no script can read.
import { emit, state } from "./store.js";

export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} detail
   */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

const SAFE = new Set(["GET", "HEAD"]);

/**
 * Returns the address of a path of the server. It is relative to this page, which may be below the prefix of a proxy.
 * @param {string} path
 */
export const addressOf = (path) => `..${path}`;

/**
 * Sends one request and returns what its answer holds. That is JSON, whose type only the callers below know.
 * @param {string} method
 * @param {string} path
 * @param {Page.RequestOptions & { body?: object }} [options]
 */
async function request(method, path, { body, keepalive = false, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (!SAFE.has(method) && state.session) headers["X-CSRF-Token"] = state.session.csrf;
  let answer;
  try {
    answer = await fetch(addressOf(path), { method, headers, keepalive, signal, credentials: "same-origin", cache: "no-store", body: body && JSON.stringify(body) });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(0, "no_connection", "");
  }
  const content = await answer.json().catch(noContent);
  if (answer.ok) return content;
  throw refusal(answer, content);
}

/**
 * Returns null for an answer that is no JSON; a request that was aborted while its answer came stays aborted.
 * @param {unknown} error
 */
function noContent(error) {
  if (isAbort(error)) throw error;
  return null;
}

/**
 * Returns the error for an answer that is not a success.
 * @param {Response} answer
 * @param {{ code?: string, detail?: string } | null} content
 */
function refusal(answer, content) {
  const error = new ApiError(answer.status, content?.code ?? `http_${answer.status}`, content?.detail ?? answer.statusText);
  // A session whose scope is too small goes on; every other 401 means that the session is over.
  if (error.status === 401 && error.code !== "insufficient_scope" && state.session) emit("signed-out");
  return error;
}

/**
 * Returns whether a request ended because its view was left.
 * @param {unknown} error
 */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * Returns the answer to GET.
 * @template {RoutePath<Api.GetAnswers>} Path
 * @param {Path} path
 * @param {Page.RequestOptions} [options]
 * @returns {Promise<RouteType<Api.GetAnswers, Path>>}
 */
export const get = (path, options) => request("GET", path, options);

/**
 * Returns the answer to POST.
 * @template {RoutePath<Api.PostAnswers>} Path
 * @param {Path} path
 * @param {RouteType<Api.PostBodies, Path>} [body]
 * @param {Page.RequestOptions} [options]
 * @returns {Promise<RouteType<Api.PostAnswers, Path>>}
 */
export const post = (path, body, options) => request("POST", path, { body: body ?? {}, ...options });

/**
 * Returns the answer to PATCH.
 * @template {RoutePath<Api.PatchAnswers>} Path
 * @param {Path} path
 * @param {RouteType<Api.PatchBodies, Path>} body
 * @returns {Promise<RouteType<Api.PatchAnswers, Path>>}
 */
export const patch = (path, body) => request("PATCH", path, { body });

/**
 * Sends DELETE.
 * @param {RoutePath<Api.DeleteAnswers>} path
 * @param {Page.RequestOptions} [options]
 * @returns {Promise<unknown>}
 */
export const remove = (path, options) => request("DELETE", path, options);

/**
 * Returns the path of one key, or of something below it.
 * @template {string} [Rest=""]
 * @param {string} id
 * @param {Rest} [rest]
 */
export const keyPath = (id, rest) => /** @type {`/api/keys/${string}${Rest}`} */ (`/api/keys/${encodeURIComponent(id)}${rest ?? ""}`);

/**
 * Returns the path with the values as its query; empty ones are left out.
 * @template {string} Path
 * @param {Path} path
 * @param {Record<string, string | number | null | undefined>} values
 */
export function query(path, values) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== "" && value !== null && value !== undefined) given.set(name, String(value));
  return /** @type {`${Path}?${string}`} */ (`${path}?${given}`);
}

// Requests to the emulator, and its errors as text.

/** The error of a request that the emulator refused, or that did not reach the emulator. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Sends a request and returns the answer: `status`, `headers`, the body as `text`, and the parsed body as `json` if the
 * body is JSON. Throws an ApiError if the emulator refuses the request or does not answer.
 */
export async function request(method, path, { body, headers, signal } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers: sent, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, null, "The emulator does not answer. Is it still running?");
  }
  const text = await response.text();
  const json = parsed(text);
  if (!response.ok) throw refusal(response.status, text, json);
  return { status: response.status, headers: response.headers, json, text };
}

/** The body of the answer to a GET. */
export const read = async (path, options) => (await request("GET", path, options)).json;

/** Like `read`, but `null` if the answer is 404. */
export async function readIfThere(path) {
  try {
    return await read(path);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** Reads one page of a query. Returns the page and the continuation for the next page. */
export async function page(path, query, size, continuation) {
  const headers = { "x-ms-max-item-count": String(size) };
  if (continuation) headers["x-ms-continuation"] = continuation;
  const answer = await request("POST", path, { body: { query }, headers });
  return { items: answer.json ?? [], next: answer.headers.get("x-ms-continuation") };
}

const API_VERSION = "api-version=2021-04-12";
const DPS_VERSION = "api-version=2021-10-01";

/** A path of the service API of DPS. */
export const dps = (...segments) => `/dps/${segments.map(encodeURIComponent).join("/")}?${DPS_VERSION}`;

/** A path of the service API of a hub. */
export const hub = (name, ...segments) =>
  `/hubs/${[name, ...segments].map(encodeURIComponent).join("/")}?${API_VERSION}`;

/** A path of the admin port. */
export const admin = (...segments) => `/${segments.map(encodeURIComponent).join("/")}`;

/** Returns the path segments of a device, or of a module `{device}/{module}`. */
export function segments(id) {
  const [device, module] = id.split("/");
  return module === undefined ? [device] : [device, "modules", module];
}

function parsed(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Creates an ApiError from the body of an error. There are four formats:
 *
 * - DPS sends JSON with a code and a message.
 * - A hub sends JSON with a `Message`, which contains a name and a text.
 * - Azure Resource Manager sends JSON with an `error`, which contains a name and a text.
 * - If the error is about a method, the hub's `Message` is JSON with a code and a message.
 */
function refusal(status, text, json) {
  const [, name, detail] = /^ErrorCode:(\w+);(.*)$/s.exec(json?.Message ?? "") ?? [];
  const inner = typeof json?.Message === "string" ? (parsed(json.Message) ?? json) : json;
  const code = inner?.errorCode ?? null;
  const message = detail ?? inner?.message ?? inner?.Message ?? inner?.error?.message ?? inner?.error ?? (text.trim() || `The emulator answered ${status}.`);
  const mark = code ?? name;
  return new ApiError(status, code, mark ? `${String(message).replace(/\.$/, "")} (${mark})` : String(message));
}

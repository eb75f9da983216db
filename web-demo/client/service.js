// @ts-check
/** The JSON calls to the service, one exchange at a time. */
import { isPassing, UploadError } from "./errors.js";
import { parseRetryAfter } from "./retry.js";

/** How long a call may take. The service answers a long completion with 202 after some seconds. */
const TIMEOUT_MS = 60_000;

/** @typedef {string | ((refused?: { token?: string }) => string | undefined | Promise<string | undefined>)} Token */
/** @typedef {{ operationId: string, method: string, url: string, body?: unknown, status?: number }} Call */
/** @typedef {{ status: number, body: any, retryAfterMs: number | undefined }} Answer */

/** Where each operation of the API is. `{}` is an id. @type {Record<string, [method: string, path: string]>} */
const OPERATIONS = {
  createUpload: ["POST", "/v1/uploads"],
  listUploads: ["GET", "/v1/uploads"],
  getUpload: ["GET", "/v1/uploads/{}"],
  abortUpload: ["DELETE", "/v1/uploads/{}"],
  signParts: ["POST", "/v1/uploads/{}/part-urls"],
  recordParts: ["PUT", "/v1/uploads/{}/parts"],
  syncParts: ["POST", "/v1/uploads/{}/sync"],
  completeUpload: ["POST", "/v1/uploads/{}/complete"],
  listFiles: ["GET", "/v1/files"],
  getFile: ["GET", "/v1/files/{}"],
  getDownloadUrl: ["GET", "/v1/files/{}/download-url"],
  deleteFile: ["DELETE", "/v1/files/{}"],
  shareFile: ["PUT", "/v1/files/{}/shares/{}"],
  unshareFile: ["DELETE", "/v1/files/{}/shares/{}"],
};

/** The service at one address, as one caller. */
export class Service {
  #token;
  #fetch;

  /** @param {{ endpoint?: string, token?: Token, fetch?: typeof fetch }} [options] */
  constructor({ endpoint = "", token, fetch = globalThis.fetch } = {}) {
    /** The service's origin, without a slash at the end; empty for the page's own. */
    this.endpoint = endpoint.replace(/\/$/, "");
    this.#token = token;
    this.#fetch = fetch;
  }

  /**
   * One call, tried once: see `persist`. (After a `401` it is repeated with a new token, if tokens come from a function.)
   *
   * @param {string} operationId as in the service's OpenAPI document
   * @param {{ ids?: string[], query?: Record<string, string>, body?: unknown, headers?: Record<string, string>,
   *   onCall?: (call: Call) => void }} [options]
   * @returns {Promise<Answer>}
   * @throws {UploadError} with the problem's code for every status from 400 on; `service-unreachable` without an answer
   */
  async call(operationId, { ids = [], query, body, headers, onCall } = {}) {
    const [method, path] = OPERATIONS[operationId];
    let next = 0;
    const place = path.replace(/{}/g, () => encodeURIComponent(ids[next++]));
    const url = this.endpoint + place + (query ? `?${new URLSearchParams(query)}` : "");
    const call = { operationId, method, url, body };
    let token = typeof this.#token === "function" ? await this.#token() : this.#token;
    for (;;) {
      try {
        const answer = await this.#exchange(call, token, headers);
        onCall?.({ ...call, status: answer.status });
        return answer;
      } catch (thrown) {
        const error = UploadError.from(thrown);
        onCall?.({ ...call, status: error.status });
        const fresh = error.status === 401 && typeof this.#token === "function" ? await this.#token({ token }) : token;
        if (fresh === token) throw error;
        token = fresh;
      }
    }
  }

  /**
   * @param {Call} call
   * @param {string} [token]
   * @param {Record<string, string>} [more]
   * @returns {Promise<Answer>}
   */
  async #exchange({ method, url, body }, token, more) {
    const headers = {
      Accept: "application/json",
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...more,
    };
    let response, text;
    try {
      const sent = body === undefined ? undefined : JSON.stringify(body);
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      response = await this.#fetch.call(globalThis, url, { method, headers, body: sent, signal, cache: "no-store" });
      text = await response.text();
    } catch (cause) {
      throw new UploadError("service-unreachable", "The service does not answer.", { retryable: true, cause });
    }
    const { status } = response;
    const retryAfterMs = parseRetryAfter(response.headers.get("Retry-After"));
    const json = parseJson(text);
    if (status < 400) {
      if (text === "" || json !== undefined) return { status, body: json, retryAfterMs };
      throw new UploadError("service-unreachable", "The answer is not the service's.", { retryable: true, status });
    }
    const problem = typeof json?.code === "string" ? json : undefined;
    // A 409 that names a time says "not yet": the upload is being created, or a repeat is still running.
    const isPatient = isPassing(status) || (status === 409 && retryAfterMs !== undefined);
    throw new UploadError(
      problem?.code ?? (isPassing(status) ? "service-unreachable" : "unexpected"),
      problem?.detail ?? problem?.title ?? `The service answered ${status}.`,
      { retryable: isPatient, status, retryAfterMs, problem },
    );
  }
}

/** @param {string} text */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// @ts-check
/**
 * What goes over the wire, one exchange at a time: the JSON calls to the service, the `PUT` of a part to S3, and the
 * rule by which a failed exchange is tried again. Knows nothing of plans, queues or pages.
 */

/**
 * An RFC 9457 problem document as the service writes it. Some codes carry further members, such as `missingParts`.
 *
 * @typedef {{ code: string, title?: string, detail?: string, status?: number, requestId?: string, missingParts?: string,
 *   state?: string, maxSize?: number, parts?: unknown }} Problem
 */

/**
 * Everything that goes wrong in this client is one of these.
 *
 * `code` is stable and meant for programs. Either it is the `code` of the service's problem document (`problem` holds
 * the whole), or it is one of the client's own:
 *
 * | code                  | meaning                                                                      |
 * |-----------------------|------------------------------------------------------------------------------|
 * | `service-unreachable` | no answer from the service, or none that could be understood                 |
 * | `storage-unreachable` | no answer from S3: network, or a CORS rule that does not allow this page     |
 * | `stalled`             | S3 took no bytes for half a minute                                           |
 * | `storage-busy`        | S3 answered 408, 429 or 5xx                                                  |
 * | `url-refused`         | S3 answered 403 or 404: the signed URL has expired, or the upload is gone    |
 * | `storage-error`       | S3 answered something else that is not a success                             |
 * | `file-differs`        | the file is not the one that the upload was begun with                       |
 * | `file-unreadable`     | the browser can no longer read the file: it was changed, moved or deleted    |
 * | `unexpected`          | an answer or a fault that nobody foresaw                                     |
 * | `interrupted`         | stopped on purpose, by `pause()` or because the network went away            |
 * | `cancelled`           | stopped for good, by `cancel()`                                              |
 */
export class UploadError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ retryable?: boolean, status?: number, retryAfterMs?: number, problem?: Problem, cause?: unknown }} [more]
   */
  constructor(code, message, { retryable = false, status, retryAfterMs, problem, cause } = {}) {
    super(message, { cause });
    this.name = "UploadError";
    /** The stable, machine-readable reason. */
    this.code = code;
    /** Whether the same step may succeed later, with nothing changed. */
    this.retryable = retryable;
    /** The HTTP status, if there was an answer. */
    this.status = status;
    /** How long the other side asked to be left alone. */
    this.retryAfterMs = retryAfterMs;
    /** The service's own problem document, if it sent one. */
    this.problem = problem;
  }

  /**
   * Any thrown value as an `UploadError`; what is none yet was not foreseen and is not tried again.
   *
   * @param {unknown} thrown
   * @returns {UploadError}
   */
  static from(thrown) {
    if (thrown instanceof UploadError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new UploadError("unexpected", message, { cause: thrown });
  }
}

/** How long a call to the service may take. It answers a long completion with 202 after some seconds. */
const CALL_TIMEOUT_MS = 60_000;
/** How long S3 may take no bytes, or not answer once it has them all. */
const STALL_MS = 30_000;

/**
 * One JSON call to the service. Answers the parsed body (`undefined` if there is none), the status and, where given,
 * what `Retry-After` asks.
 *
 * Not tried again here: see {@link persist}.
 *
 * @param {string} url
 * @param {{ method?: string, body?: unknown, headers?: Record<string, string>, timeoutMs?: number }} [options]
 * @returns {Promise<{ status: number, body: any, retryAfterMs: number | undefined }>}
 * @throws {UploadError} with the problem's code for every status from 400 on; `service-unreachable` without an answer.
 */
export async function callService(url, { method = "GET", body, headers = {}, timeoutMs = CALL_TIMEOUT_MS } = {}) {
  let response, text;
  try {
    response = await fetch(url, {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch (cause) {
    throw new UploadError("service-unreachable", "The service does not answer.", { retryable: true, cause });
  }
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.headers.get("Retry-After"));
  const json = parseJson(text);
  if (status < 400) {
    if (text !== "" && json === undefined) {
      throw new UploadError("service-unreachable", "The answer is not the service's.", { retryable: true, status });
    }
    return { status, body: json, retryAfterMs };
  }
  const problem = typeof json?.code === "string" ? /** @type {Problem} */ (json) : undefined;
  // A 409 that names a time says "not yet": the upload is being created, or a repeat is still running.
  const notYet = status === 409 && retryAfterMs !== undefined;
  throw new UploadError(
    problem?.code ?? (isPassing(status) ? "service-unreachable" : "unexpected"),
    problem?.detail ?? problem?.title ?? `The service answered ${status}.`,
    { retryable: isPassing(status) || notYet, status, retryAfterMs, problem },
  );
}

/**
 * Sends one part to its signed URL, with exactly the headers that came with it. `XMLHttpRequest`, because `fetch` does
 * not tell how much of a body has gone.
 *
 * Answers the part's ETag, or `null` if the bucket's CORS rule hides it from pages; the part is stored all the same.
 *
 * @param {{ method: string, url: string, headers: Record<string, string> }} target
 * @param {Blob} body a slice without a type, or the browser adds a `Content-Type` of its own
 * @param {{ signal: AbortSignal, onProgress: (sentBytes: number) => void, stallMs?: number }} options
 * @returns {Promise<string | null>}
 * @throws {UploadError} `interrupted`, `stalled`, `storage-unreachable`, `storage-busy`, `url-refused` or `storage-error`
 */
export function putPart(target, body, { signal, onProgress, stallMs = STALL_MS }) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new UploadError("interrupted", "Stopped."));
    const xhr = new XMLHttpRequest();
    /** @type {ReturnType<typeof setTimeout>} */
    let stallTimer;
    const stop = () => finish(() => reject(new UploadError("interrupted", "Stopped.")));
    const stalled = () =>
      finish(() => reject(new UploadError("stalled", "S3 has taken no bytes for a while.", { retryable: true })));
    const watch = () => {
      clearTimeout(stallTimer);
      stallTimer = setTimeout(stalled, stallMs);
    };
    /** @param {() => void} settle */
    const finish = (settle) => {
      clearTimeout(stallTimer);
      signal.removeEventListener("abort", stop);
      settle();
      xhr.abort();
    };
    signal.addEventListener("abort", stop);

    xhr.upload.onprogress = (event) => {
      watch();
      onProgress(event.loaded);
    };
    xhr.upload.onload = watch;
    xhr.onload = () =>
      finish(() => (xhr.status >= 200 && xhr.status < 300 ? resolve(readETag(xhr)) : reject(refusal(xhr))));
    xhr.onerror = () =>
      finish(() => reject(new UploadError("storage-unreachable", "S3 does not answer this page.", { retryable: true })));

    xhr.open(target.method, target.url);
    for (const [name, value] of Object.entries(target.headers)) xhr.setRequestHeader(name, value);
    xhr.send(body);
    watch();
  });
}

/**
 * Asking for a header that CORS hides makes browsers complain in the console; the list of all headers does not.
 *
 * @param {XMLHttpRequest} xhr
 * @returns {string | null}
 */
function readETag(xhr) {
  return /^etag:\s*(.*?)\s*$/im.exec(xhr.getAllResponseHeaders())?.[1] || null;
}

/**
 * What an S3 answer other than a success means for this part.
 *
 * @param {XMLHttpRequest} xhr
 * @returns {UploadError}
 */
function refusal(xhr) {
  const { status } = xhr;
  const reason = /<Code>([^<]*)<\/Code>/.exec(xhr.responseText)?.[1] ?? `status ${status}`;
  const message = `S3 answered ${status} (${reason}).`;
  // After these the service is asked for another URL, and says if the upload is gone.
  // Amazon says "expired credentials" and "you were too slow" with status 400.
  if (status === 403 || status === 404 || reason === "ExpiredToken") return new UploadError("url-refused", message, { status });
  if (isPassing(status) || reason === "RequestTimeout") {
    const wait = /^retry-after:\s*(.*?)\s*$/im.exec(xhr.getAllResponseHeaders())?.[1] ?? null;
    return new UploadError("storage-busy", message, { retryable: true, status, retryAfterMs: parseRetryAfter(wait) });
  }
  return new UploadError("storage-error", message, { status });
}

/** First pause at most half a second, later ones at most fifteen. */
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 15_000;
/** Sum of pauses after which a step that only fails is given up. */
const PATIENCE_MS = 5 * 60_000;

/**
 * Runs a step until it succeeds, with exponential back-off and full jitter between tries, or as long as the other side
 * asked by `Retry-After`. Gives up at once on errors that are not retryable, and after five minutes of pauses.
 *
 * @template T
 * @param {(attempt: number) => Promise<T>} step
 * @param {object} [options]
 * @param {() => void | Promise<void>} [options.before] awaited before each try; may throw to end the attempts
 * @param {() => AbortSignal | undefined} [options.wake] the signal that cuts a pause short
 * @param {(error: UploadError, delayMs: number) => void} [options.onRetry] told before each pause
 * @returns {Promise<T>}
 * @throws {UploadError} the last error
 */
export async function persist(step, { before, wake, onRetry } = {}) {
  let waited = 0;
  for (let attempt = 0; ; attempt++) {
    await before?.();
    try {
      return await step(attempt);
    } catch (thrown) {
      const error = UploadError.from(thrown);
      if (!error.retryable || waited > PATIENCE_MS) throw error;
      const delay = (error.retryAfterMs ?? 0) + Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);
      waited += delay;
      onRetry?.(error, delay);
      await sleep(delay, wake?.());
    }
  }
}

/**
 * Waits; ends early, without an error, when the signal fires.
 *
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/** @param {number} status */
function isPassing(status) {
  return status === 408 || status === 429 || status >= 500;
}

/**
 * `Retry-After` is a number of seconds or a date.
 *
 * @param {string | null} value
 * @returns {number | undefined} milliseconds, at most a minute
 */
function parseRetryAfter(value) {
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : undefined;
}

/** @param {string} text */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

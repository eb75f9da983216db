// @ts-check
/** The `PUT` of one part to its signed URL. */
import { isPassing, UploadError } from "./errors.js";
import { parseRetryAfter } from "./retry.js";

/**
 * Sends bytes to S3, with exactly the headers that came with the URL. Answers the part's ETag, or `null` if the bucket's
 * CORS rule hides it from pages; the part is stored all the same.
 *
 * @callback Send
 * @param {{ method: string, url: string, headers: Record<string, string> }} target
 * @param {Blob} body a slice without a type, or the browser adds a `Content-Type` of its own
 * @param {{ signal: AbortSignal, stallMs: number, onProgress: (sentBytes: number) => void }} options
 * @returns {Promise<string | null>}
 * @throws {UploadError} `interrupted`, `stalled`, `storage-unreachable`, `storage-busy`, `url-refused` or `storage-error`
 */

/**
 * In browsers by `XMLHttpRequest`, because `fetch` does not tell how much of a body has gone; elsewhere by Node's own client.
 *
 * @type {Send}
 */
export async function send(target, body, options) {
  if (typeof XMLHttpRequest !== "undefined") return put(target, body, options);
  const { put: putFromNode } = await import("./send-node.js");
  return putFromNode(target, body, options);
}

/** @type {Send} */
function put(target, body, { signal, stallMs, onProgress }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const settle = watch({ signal, stallMs }, () => xhr.abort(), resolve, reject);
    xhr.upload.onprogress = ({ loaded }) => {
      settle.alive();
      onProgress(loaded);
    };
    xhr.upload.onload = settle.alive;
    xhr.onload = () => {
      const headers = xhr.getAllResponseHeaders();
      // Asking for a header that CORS hides makes browsers complain in the console; the list of all headers does not.
      const header = (/** @type {string} */ name) => new RegExp(`^${name}:\\s*(.*?)\\s*$`, "im").exec(headers)?.[1];
      if (xhr.status >= 200 && xhr.status < 300) settle.resolve(header("etag") ?? null);
      else settle.reject(refusal(xhr.status, xhr.responseText, header("retry-after")));
    };
    xhr.onerror = () => settle.reject(unreachable());
    if (signal.aborted) return;
    xhr.open(target.method, target.url);
    for (const [name, value] of Object.entries(target.headers)) xhr.setRequestHeader(name, value);
    xhr.send(body);
  });
}

/**
 * Ends an exchange once: by what it answers, by the signal, or when nothing has moved for a while.
 *
 * @param {{ signal: AbortSignal, stallMs: number }} options
 * @param {() => void} stop ends the exchange itself
 * @param {(etag: string | null) => void} resolve
 * @param {(error: UploadError) => void} reject
 */
export function watch({ signal, stallMs }, stop, resolve, reject) {
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  /** @param {() => void} settle */
  const end = (settle) => {
    clearTimeout(timer);
    signal.removeEventListener("abort", interrupted);
    settle();
    stop();
  };
  const interrupted = () => end(() => reject(new UploadError("interrupted", "Stopped.")));
  const stalled = () => end(() => reject(new UploadError("stalled", "S3 has taken no bytes for a while.", { retryable: true })));
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(stalled, stallMs);
  };
  signal.addEventListener("abort", interrupted);
  alive();
  if (signal.aborted) interrupted();
  return {
    alive,
    /** @param {string | null} etag */
    resolve: (etag) => end(() => resolve(etag)),
    /** @param {UploadError} error */
    reject: (error) => end(() => reject(error)),
  };
}

/** @param {unknown} [cause] */
export function unreachable(cause) {
  return new UploadError("storage-unreachable", "S3 does not answer.", { retryable: true, cause });
}

/**
 * What an S3 answer other than a success means for this part.
 *
 * @param {number} status
 * @param {string} body
 * @param {string} [retryAfter]
 * @returns {UploadError}
 */
export function refusal(status, body, retryAfter) {
  const reason = /<Code>([^<]*)<\/Code>/.exec(body)?.[1] ?? `status ${status}`;
  const message = `S3 answered ${status} (${reason}).`;
  // After these the service is asked for another URL, and says if the upload is gone.
  // Amazon says "expired credentials" and "you were too slow" with status 400.
  if (status === 403 || status === 404 || reason === "ExpiredToken") return new UploadError("url-refused", message, { status });
  if (isPassing(status) || reason === "RequestTimeout") {
    return new UploadError("storage-busy", message, { retryable: true, status, retryAfterMs: parseRetryAfter(retryAfter) });
  }
  return new UploadError("storage-error", message, { status });
}

// @ts-check

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
 * | code                   | meaning                                                                      |
 * |------------------------|------------------------------------------------------------------------------|
 * | `service-unreachable`  | no answer from the service, or none that could be understood                 |
 * | `storage-unreachable`  | no answer from S3: network, or a CORS rule that does not allow this page     |
 * | `stalled`              | S3 took no bytes for half a minute                                           |
 * | `storage-busy`         | S3 answered 408, 429 or 5xx                                                  |
 * | `url-refused`          | S3 answered 403 or 404: the signed URL has expired, or the upload is gone    |
 * | `storage-error`        | S3 answered something else that is not a success                             |
 * | `file-needed`          | nothing here leads to the file's bytes: it has to be chosen again            |
 * | `file-differs`         | the file is not the one that the upload was begun with                       |
 * | `file-unreadable`      | the file can no longer be read: it was changed, moved or deleted             |
 * | `file-changed`         | the file was changed while it was sent; nothing is left of the upload        |
 * | `checksum-unsupported` | the upload asks for part checksums of a kind that this client does not make  |
 * | `aborted`              | given up, by `abort()`, its `AbortSignal` or another tab                     |
 * | `interrupted`          | one exchange was stopped by a pause or a lost network; never seen outside    |
 * | `unexpected`           | an answer or a fault that nobody foresaw                                     |
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
    return new UploadError("unexpected", thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
  }
}

/** @param {unknown} cause why a file's bytes cannot be had */
export function unreadable(cause) {
  return new UploadError("file-unreadable", "The file can no longer be read.", { cause });
}

/**
 * Whether an answer of this status says "not now" rather than "no".
 *
 * @param {number} status
 */
export function isPassing(status) {
  return status === 408 || status === 429 || status >= 500;
}

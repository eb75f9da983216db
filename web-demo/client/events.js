// @ts-check

/**
 * What an upload tells while it runs.
 *
 * - `state`: the state is another one now.
 * - `plan`: the upload exists at the service, and its parts are known. All but `missing` are stored already.
 * - `part`: a part changed its state, or more of it has gone; `lane` is the connection that sends it, from 0.
 * - `progress`: bytes of the file that S3 has (`storedBytes`), and with those on their way in parts being sent (`sentBytes`).
 * - `retry`: a step failed and is tried again after `delayMs`.
 * - `call`: the service was called; `status` is absent if there was no answer.
 *
 * @typedef {{ type: "state", state: UploadState }
 *   | { type: "plan", upload: UploadResource, missing: number[] }
 *   | { type: "part", partNumber: number, state: PartState, sentBytes: number, size: number, lane?: number }
 *   | { type: "progress", sentBytes: number, storedBytes: number, size: number }
 *   | { type: "retry", error: import("./errors.js").UploadError, delayMs: number, partNumber?: number }
 *   | { type: "call", call: import("./service.js").Call }} UploadEvent
 */

/** @typedef {"pending" | "sending" | "retrying" | "stored"} PartState */

/**
 * `elsewhere`: another tab is at it, and this one watches.
 *
 * @typedef {"preparing" | "elsewhere" | "sending" | "paused" | "offline" | "completing" | "completed" | "failed" | "aborted"} UploadState
 */

/**
 * An upload as the service describes it (`Upload` in its OpenAPI document); the members that this client reads.
 *
 * @typedef {object} UploadResource
 * @property {string} id
 * @property {"creating" | "open" | "completing" | "completed" | "deleting" | "deleted" | "aborting" | "aborted" | "failed"} state
 * @property {string} filename
 * @property {number} [size]
 * @property {number} partSize
 * @property {number} [partCount]
 * @property {string} [partChecksum]
 * @property {number} recordedParts
 * @property {number} recordedBytes
 * @property {string} [missingParts]
 * @property {string} [fingerprint]
 * @property {string} createdAt
 * @property {{ size: number, checksum?: { algorithm: string, value: string, verified?: boolean } }} [object]
 */

/** Hands events to those who iterate over them, each at its own pace. */
export class Events {
  /** @type {Set<Reader>} */
  #readers = new Set();
  #ended = false;

  /** @param {UploadEvent} event */
  emit(event) {
    for (const reader of this.#readers) reader.push(event);
  }

  /** There are no more. */
  end() {
    this.#ended = true;
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
  }

  /**
   * @param {UploadEvent[]} first what the reader is told before what comes
   * @returns {AsyncIterableIterator<UploadEvent>}
   */
  read(first) {
    const reader = new Reader(() => this.#readers.delete(reader));
    for (const event of first) reader.push(event);
    if (this.#ended) reader.end();
    else this.#readers.add(reader);
    return reader;
  }
}

/**
 * Who is slow does not hear every step of a part or of the whole, only the latest.
 *
 * @implements {AsyncIterableIterator<UploadEvent>}
 */
class Reader {
  /** Of each kind the latest, in the order in which they began to wait. @type {Map<unknown, UploadEvent>} */
  #queue = new Map();
  /** @type {((result: IteratorResult<UploadEvent>) => void)[]} */
  #waiting = [];
  #ended = false;
  #leave;

  /** @param {() => void} leave */
  constructor(leave) {
    this.#leave = leave;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @param {UploadEvent} event */
  push(event) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting({ value: event, done: false });
    else this.#queue.set(event.type === "part" ? event.partNumber : event.type === "progress" ? event.type : event, event);
  }

  end() {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve({ value: undefined, done: true });
  }

  /** @returns {Promise<IteratorResult<UploadEvent>>} */
  next() {
    for (const [key, value] of this.#queue) {
      this.#queue.delete(key);
      return Promise.resolve({ value, done: false });
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** @returns {Promise<IteratorResult<UploadEvent>>} */
  return() {
    this.#leave();
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }
}

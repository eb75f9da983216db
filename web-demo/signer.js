// @ts-check
import { UploadError } from "./transport.js";

/** URLs are asked for in windows of at least this many parts, just before they are needed. */
export const SIGN_WINDOW = 8;
/** However many parts there are, so many windows do for all, unless URLs expire before they are used. */
const SIGN_CALLS = 5;
/** The next window is asked for when one of so many next parts has no URL. */
const SIGN_AHEAD = 4;

/**
 * A signed URL for one part: bytes `[offset, offset + size)` of the file go to `url` with exactly these `headers`.
 *
 * @typedef {{ partNumber: number, method: string, url: string, headers: Record<string, string>, offset: number,
 *   size: number, expiresInSeconds: number }} PartUrl
 */

/** Holds the signed URLs and asks for more, a window at a time, before they are needed. */
export class Signer {
  #sign;
  #window = SIGN_WINDOW;
  /** @type {Map<number, PartUrl & { usableUntil: number }>} */
  #urls = new Map();
  /** Parts that wait for their URL. @type {Set<number>} */
  #wanted = new Set();
  /** @type {Promise<void> | undefined} */
  #signing;

  /** @param {(parts: number[]) => Promise<PartUrl[]>} sign */
  constructor(sign) {
    this.#sign = sign;
  }

  /** @param {number} partCount */
  plan(partCount) {
    this.#window = Math.max(SIGN_WINDOW, Math.ceil(partCount / SIGN_CALLS));
  }

  /** @param {PartUrl[]} urls */
  add(urls) {
    for (const url of urls) {
      // Counted from here, because the clocks differ; a little early, so that the request arrives in time.
      const lifeMs = url.expiresInSeconds * 1000;
      this.#urls.set(url.partNumber, { ...url, usableUntil: Date.now() + lifeMs - Math.min(lifeMs / 4, 10_000) });
    }
  }

  /** @param {number} partNumber */
  forget(partNumber) {
    this.#urls.delete(partNumber);
  }

  /**
   * A usable URL for this part. Those next in the queue are signed in the same call, or ahead of time.
   *
   * @param {number} partNumber
   * @param {number[]} queue
   * @returns {Promise<PartUrl>}
   */
  async take(partNumber, queue) {
    this.#wanted.add(partNumber);
    try {
      // A call that is under way may leave this part out; the next one does not.
      for (let tries = 0; !this.#has(partNumber); tries++) {
        if (tries === 3) throw new UploadError("service-unreachable", "The service signs no URL.", { retryable: true });
        await (this.#signing ?? this.#signWindow(queue));
      }
    } finally {
      this.#wanted.delete(partNumber);
    }
    const ahead = queue.slice(0, SIGN_AHEAD);
    if (!this.#signing && ahead.some((next) => !this.#has(next))) this.#signWindow(queue).catch(() => {});
    return /** @type {PartUrl} */ (this.#urls.get(partNumber));
  }

  /** @param {number} partNumber */
  #has(partNumber) {
    return (this.#urls.get(partNumber)?.usableUntil ?? 0) > Date.now();
  }

  /** @param {number[]} queue */
  #signWindow(queue) {
    const without = [...this.#wanted, ...queue].filter((partNumber) => !this.#has(partNumber));
    const window = without.slice(0, this.#window);
    this.#signing = this.#sign(window.sort((a, b) => a - b))
      .then((urls) => this.add(urls))
      .finally(() => (this.#signing = undefined));
    return this.#signing;
  }
}

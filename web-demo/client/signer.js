// @ts-check
import { stopwatch } from "./clock.js";
import { UploadError } from "./errors.js";

/** URLs are asked for in windows of at least this many parts, just before they are needed. */
export const SIGN_WINDOW = 16;
/** However many parts there are, so many windows do for all, unless URLs expire before they are used. */
const SIGN_CALLS = 5;
/** The next window is asked for when one of so many next parts has no URL. */
const SIGN_AHEAD = 6;

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
  /** @type {Map<number, PartUrl & { isUsable: () => boolean }>} */
  #urls = new Map();
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
    // Counted from here, because the clocks differ; a little early, so that the request arrives in time.
    const age = stopwatch();
    for (const url of urls) {
      const lifeMs = url.expiresInSeconds * 1000;
      const usableMs = lifeMs - Math.min(lifeMs / 4, 10_000);
      this.#urls.set(url.partNumber, { ...url, isUsable: () => age() < usableMs });
    }
  }

  /** @param {number} partNumber */
  forget(partNumber) {
    this.#urls.delete(partNumber);
  }

  /**
   * A usable URL for the first part of the queue. Those next in it are signed in the same call, or ahead of time.
   *
   * @param {number[]} queue not empty
   * @returns {Promise<PartUrl>}
   */
  async first(queue) {
    const [partNumber] = queue;
    // A call that is under way may leave this part out; the next one does not.
    for (let tries = 0; !this.has(partNumber); tries++) {
      if (tries === 3) throw new UploadError("service-unreachable", "The service signs no URL.", { retryable: true });
      await (this.#signing ?? this.#signWindow(queue));
    }
    if (!this.#signing && queue.slice(0, SIGN_AHEAD).some((next) => !this.has(next))) this.#signWindow(queue).catch(() => {});
    return /** @type {PartUrl} */ (this.#urls.get(partNumber));
  }

  /** @param {number} partNumber */
  has(partNumber) {
    return this.#urls.get(partNumber)?.isUsable() ?? false;
  }

  /** @param {number[]} queue */
  #signWindow(queue) {
    const window = queue.filter((partNumber) => !this.has(partNumber)).slice(0, this.#window);
    this.#signing = this.#sign(window.sort((a, b) => a - b))
      .then((urls) => this.add(urls))
      .finally(() => (this.#signing = undefined));
    return this.#signing;
  }
}

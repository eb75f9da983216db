// @ts-check
/** Stored parts are recorded in groups of at least so many; */
const GROUP = 16;
/** however many parts there are, so many groups do for all. */
const CALLS = 5;
/** The smallest groups wait no longer than this for their last parts. Larger ones do: S3 knows their parts meanwhile. */
const DELAY_MS = 3000;
/** The most parts in one call. */
const LIMIT = 1000;

/** @typedef {{ partNumber: number, etag: string, checksum?: string }} StoredPart */

/**
 * Tells the service in groups which parts are stored. A hint, not a promise: what is not recorded is asked of S3 at the
 * end. So a refusal here does not fail the upload.
 */
export class Recorder {
  #record;
  #group = GROUP;
  /** @type {StoredPart[]} */
  #parts = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #last = Promise.resolve();

  /** @param {(parts: StoredPart[]) => Promise<void>} record tries again by itself */
  constructor(record) {
    this.#record = record;
  }

  /** @param {number} partCount */
  plan(partCount) {
    this.#group = Math.max(GROUP, Math.ceil(partCount / CALLS));
  }

  /** @param {StoredPart} part */
  add(part) {
    this.#parts.push(part);
    if (this.#parts.length >= this.#group) this.#send(this.#group);
    else if (this.#group === GROUP) this.#timer ??= setTimeout(() => this.#send(1), DELAY_MS);
  }

  /**
   * Ends the recording.
   *
   * @returns {Promise<StoredPart[]>} what is not recorded yet, once the calls under way are answered
   */
  async rest() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#last;
    return this.#parts.splice(0);
  }

  /**
   * Sends what there is when its turn comes, unless that are fewer than `least`.
   *
   * @param {number} least
   */
  #send(least) {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#last = this.#last.then(async () => {
      while (this.#parts.length >= least) await this.#record(this.#parts.splice(0, LIMIT)).catch(() => {});
    });
  }
}

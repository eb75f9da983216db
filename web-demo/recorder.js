// @ts-check
/** Stored parts are recorded in groups of at least so many; */
const RECORD_GROUP = 8;
/** however many parts there are, so many groups do for all. */
const RECORD_CALLS = 5;
/** The smallest groups wait no longer than this for their last parts. Larger ones do: S3 knows their parts meanwhile. */
const RECORD_DELAY_MS = 1000;
/** The most parts in one call. */
const RECORD_LIMIT = 1000;

/** @typedef {{ partNumber: number, etag: string }} RecordedPart */

/**
 * Tells the service in groups which parts are stored. A hint, not a promise: what is not recorded is asked of S3 at the
 * end. So a refusal here does not fail the upload.
 */
export class Recorder {
  #record;
  #group = RECORD_GROUP;
  /** @type {RecordedPart[]} */
  #parts = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #last = Promise.resolve();

  /** @param {(parts: RecordedPart[]) => Promise<void>} record tries again by itself */
  constructor(record) {
    this.#record = record;
  }

  /** @param {number} partCount */
  plan(partCount) {
    this.#group = Math.max(RECORD_GROUP, Math.ceil(partCount / RECORD_CALLS));
  }

  /** @param {RecordedPart} part */
  add(part) {
    this.#parts.push(part);
    if (this.#parts.length >= this.#group) this.#send(this.#group);
    else if (this.#group === RECORD_GROUP) this.#timer ??= setTimeout(() => this.flush(), RECORD_DELAY_MS);
  }

  /** Settles when everything added so far is recorded or refused. Never fails. */
  flush() {
    return this.#send(1);
  }

  /**
   * Sends what there is when its turn comes, unless that are fewer than `least`.
   *
   * @param {number} least
   */
  #send(least) {
    this.stop();
    this.#last = this.#last.then(async () => {
      while (this.#parts.length >= least) {
        await this.#record(this.#parts.splice(0, RECORD_LIMIT)).catch(() => {});
      }
    });
    return this.#last;
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

// @ts-check
/** How many parts are on their way to a host at once: as many as pay. */

/** Browsers open no more connections to one host (over HTTP/1.1, which S3 speaks). */
export const MOST = 6;
const FIRST = 3;
/** A further connection pays if it makes the whole faster by this much. */
const WORTH = 1.05;
/** So long a round is measured at least, and so many parts for each connection. */
const ROUND_MS = 1500;
/** After a step that did not pay, so many rounds pass before the next is tried. */
const REST_ROUNDS = 6;

/** The connections to one host, shared by all uploads that go there. */
export class Connections {
  /** How many there may be now. */
  limit;
  #most;
  #now;
  /** @type {boolean[]} */
  #lanes = [];
  #busy = 0;
  /** @type {((lane: number) => void)[]} */
  #waiting = [];

  #roundBytes = 0;
  #roundParts = 0;
  #roundStart = 0;
  #rate = 0;
  #rest = 0;
  #isTrial = false;

  /**
   * @param {number} most
   * @param {() => number} [now] a clock in milliseconds
   */
  constructor(most, now = () => performance.now()) {
    this.#most = most;
    this.#now = now;
    this.limit = Math.min(FIRST, most);
  }

  /**
   * A free lane, from 0; first come, first served.
   *
   * @param {AbortSignal} signal
   * @returns {Promise<number | undefined>} nothing if the signal fired before there was one
   */
  take(signal) {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(undefined);
      /** @param {number} lane */
      const grant = (lane) => {
        signal.removeEventListener("abort", leave);
        resolve(lane);
      };
      const leave = () => {
        this.#waiting = this.#waiting.filter((each) => each !== grant);
        resolve(undefined);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(grant);
      this.#serve();
    });
  }

  /**
   * Gives a lane back.
   *
   * @param {number} lane
   * @param {number} [bytes] that went through it, if all went well
   */
  free(lane, bytes) {
    this.#lanes[lane] = false;
    this.#busy--;
    if (bytes !== undefined) this.#measure(bytes);
    this.#serve();
  }

  /** The host is at its limit: half as many. */
  slower() {
    this.limit = Math.max(1, this.limit >> 1);
    this.#isTrial = false;
    this.#rest = REST_ROUNDS;
    this.#begin(0);
  }

  #serve() {
    while (this.#waiting.length > 0 && this.#busy < this.limit) {
      // Nothing was on its way: what was measured before says nothing of now.
      if (this.#busy === 0) this.#begin(this.#rate);
      let lane = 0;
      while (this.#lanes[lane]) lane++;
      this.#lanes[lane] = true;
      this.#busy++;
      this.#waiting.shift()?.(lane);
    }
  }

  /** @param {number} bytes */
  #measure(bytes) {
    this.#roundBytes += bytes;
    this.#roundParts++;
    const elapsed = this.#now() - this.#roundStart;
    // With nobody waiting the connections are not all used, and more of them would be no faster.
    if (elapsed < ROUND_MS || this.#roundParts < this.limit || this.#waiting.length === 0) return;
    const rate = this.#roundBytes / elapsed;
    if (this.#isTrial && rate < this.#rate * WORTH) {
      this.limit = Math.max(1, this.limit - 1);
      this.#isTrial = false;
      this.#rest = REST_ROUNDS;
    } else if (this.limit < this.#most && --this.#rest <= 0) {
      this.limit++;
      this.#isTrial = true;
    } else {
      this.#isTrial = false;
    }
    this.#begin(rate);
  }

  /** @param {number} rate of the round before */
  #begin(rate) {
    this.#rate = rate;
    this.#roundBytes = this.#roundParts = 0;
    this.#roundStart = this.#now();
  }
}

/** @type {Map<string, Connections>} */
const hosts = new Map();

/**
 * The connections to the host of this URL.
 *
 * @param {string} url
 * @param {number} most that an upload asks for; the first one of a host decides
 */
export function connectionsTo(url, most) {
  const { host } = new URL(url);
  const known = hosts.get(host) ?? new Connections(Math.min(Math.max(most, 1), MOST));
  hosts.set(host, known);
  return known;
}

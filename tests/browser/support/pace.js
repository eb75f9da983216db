import { setTimeout as sleep } from "node:timers/promises";

/** What was not used lately may be used at once; otherwise the timers' coarseness would cost rate. */
const BURST_MS = 30;

/** Lets so many bytes pass in a second. */
export class Pace {
  #bytesPerMs;
  /** When the line is free again. */
  #free = 0;

  /** @param {number} bytesPerSecond */
  constructor(bytesPerSecond) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /**
   * Waits until these bytes are through.
   *
   * @param {number} bytes
   */
  async pass(bytes) {
    const now = performance.now();
    this.#free = Math.max(this.#free, now - BURST_MS) + bytes / this.#bytesPerMs;
    if (this.#free > now) await sleep(this.#free - now);
  }
}

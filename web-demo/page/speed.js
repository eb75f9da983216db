// @ts-check
/** How much older samples weigh less: after so long, about a third. */
const TIME_CONSTANT_S = 4;
const SAMPLE_MS = 250;

/** A moving average of bytes per second. Takes a running total, which may also fall when a part begins anew. */
export class Speed {
  #lastBytes = 0;
  #lastTime = 0;
  #average = 0;
  #weight = 0;

  /**
   * Begins anew, for example after a pause.
   *
   * @param {number} bytes
   */
  reset(bytes) {
    this.#lastBytes = bytes;
    this.#lastTime = performance.now();
    this.#average = 0;
    this.#weight = 0;
  }

  /**
   * @param {number} bytes the total so far
   * @returns {number | undefined} bytes per second, once there is something to tell
   */
  update(bytes) {
    const elapsed = performance.now() - this.#lastTime;
    if (elapsed >= SAMPLE_MS) {
      const keep = Math.exp(-elapsed / 1000 / TIME_CONSTANT_S);
      const rate = (Math.max(bytes - this.#lastBytes, 0) / elapsed) * 1000;
      this.#average = this.#average * keep + rate * (1 - keep);
      this.#weight = this.#weight * keep + (1 - keep);
      this.#lastBytes = bytes;
      this.#lastTime += elapsed;
    }
    // Divided by the weight, the first samples count in full instead of starting from zero.
    return this.#weight > 0.1 && this.#average > 0 ? this.#average / this.#weight : undefined;
  }
}

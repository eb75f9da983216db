// @ts-check
/** The rule by which what failed is tried again. */
import { UploadError } from "./errors.js";

/** First pause at most half a second, later ones at most fifteen. */
const BASE_MS = 500;
const CAP_MS = 15_000;
/** Sum of pauses after which a step that only fails is given up. Pauses, not time: a machine may sleep in between. */
const PATIENCE_MS = 5 * 60_000;

/** The tries of one step. */
export class Tries {
  #count = 0;
  #waited = 0;

  /**
   * How long to wait before the next try: a random part of a growing pause (full jitter), or after what `Retry-After` asked.
   *
   * @param {UploadError} error why the last one failed
   * @returns {number} milliseconds
   * @throws {UploadError} the same error, if it will not pass or if patience is at its end
   */
  next(error) {
    if (!error.retryable || this.#waited > PATIENCE_MS) throw error;
    const delay = (error.retryAfterMs ?? 0) + Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** this.#count++);
    this.#waited += delay;
    return delay;
  }
}

/**
 * Runs a step until it succeeds.
 *
 * @template T
 * @param {() => Promise<T>} step
 * @param {object} [options]
 * @param {() => void | Promise<void>} [options.before] awaited before each try; may throw to end the attempts
 * @param {() => AbortSignal | undefined} [options.wake] the signal that cuts a pause short
 * @param {(error: UploadError, delayMs: number) => void} [options.onRetry] told before each pause
 * @returns {Promise<T>}
 * @throws {UploadError} the last error
 */
export async function persist(step, { before, wake, onRetry } = {}) {
  const tries = new Tries();
  for (;;) {
    await before?.();
    try {
      return await step();
    } catch (thrown) {
      const error = UploadError.from(thrown);
      const delay = tries.next(error);
      onRetry?.(error, delay);
      await sleep(delay, wake?.());
    }
  }
}

/**
 * Waits; ends early, without an error, when the signal fires.
 *
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/**
 * `Retry-After` is a number of seconds or a date.
 *
 * @param {string | null | undefined} value
 * @returns {number | undefined} milliseconds, at most a minute: a clock may be wrong
 */
export function parseRetryAfter(value) {
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : undefined;
}

// @ts-check
/** Whether an upload may go on: not while it is paused, not while the network is away, never again once it has to end. */
import { persist, sleep } from "./retry.js";

/** How often the service is asked whether the network is really gone: browsers are sometimes wrong about that. */
const PROBE_MS = 5000;

export class Gate {
  paused = false;
  offline = false;
  #end = new AbortController();
  #session = new AbortController();
  /** @type {(() => void)[]} */
  #waiting = [];
  #changed;
  #onRetry;

  /**
   * @param {() => void} changed told after each change
   * @param {(error: import("./errors.js").UploadError, delayMs: number) => void} onRetry told before each pause of `persist`
   */
  constructor(changed, onRetry) {
    this.#changed = changed;
    this.#onRetry = onRetry;
  }

  /** Fires once, with the reason, when the upload is to end. */
  get end() {
    return this.#end.signal;
  }

  /** Fires when what is under way has to stop; another one when it may go on. */
  get session() {
    return this.#session.signal;
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    this.#apply();
  }

  /** @param {import("./errors.js").UploadError} reason the first one counts */
  close(reason) {
    this.#end.abort(reason);
    this.#apply();
  }

  /** Waits until the upload may go on. Throws the reason when it is to end. */
  async pass() {
    this.end.throwIfAborted();
    while (this.paused || this.offline) {
      await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
      this.end.throwIfAborted();
    }
  }

  /**
   * Runs a step until it succeeds, but only while the upload may go on.
   *
   * @template T
   * @param {() => Promise<T>} step
   * @returns {Promise<T>}
   */
  persist(step) {
    return persist(step, { before: () => this.pass(), wake: () => this.session, onRetry: this.#onRetry });
  }

  /**
   * Holds while the network is away.
   *
   * @param {() => Promise<unknown>} probe succeeds if it is not
   * @returns {() => void} ends the watch
   */
  watchNetwork(probe) {
    if (!globalThis.addEventListener) return () => {};
    const online = () => {
      this.offline = false;
      this.#apply();
    };
    const offline = async () => {
      this.offline = true;
      this.#apply();
      while (this.offline && !this.end.aborted) {
        await sleep(PROBE_MS, this.end);
        if (this.offline) await probe().then(online, () => {});
      }
    };
    addEventListener("online", online);
    addEventListener("offline", offline);
    if (globalThis.navigator?.onLine === false) offline();
    return () => {
      this.offline = false;
      removeEventListener("online", online);
      removeEventListener("offline", offline);
    };
  }

  #apply() {
    const held = this.paused || this.offline;
    if (this.end.aborted || held) this.#session.abort();
    else if (this.session.aborted) this.#session = new AbortController();
    if (this.end.aborted || !held) for (const resolve of this.#waiting.splice(0)) resolve();
    this.#changed();
  }
}

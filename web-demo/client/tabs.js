// @ts-check
/** One tab sends a file, the others watch it: Web Locks decide, a BroadcastChannel tells. Without them each is alone. */

/**
 * What the tab that sends tells the others.
 *
 * @typedef {object} Snapshot
 * @property {import("./events.js").UploadState} state
 * @property {import("./events.js").UploadResource} [upload]
 * @property {string} missing parts that S3 does not have, as ranges
 * @property {number} sentBytes
 * @property {number} storedBytes
 */

const CHANNEL = "partita";
/** The others need not hear of each byte. */
const TELL_MS = 200;

/**
 * Whether some tab has this name to itself.
 *
 * @param {string} name
 */
export async function isTaken(name) {
  const locks = await globalThis.navigator?.locks?.query();
  return locks?.held?.some((lock) => lock.name === name) ?? false;
}

/** The tabs of one browser, as to one file. */
export class Tabs {
  #name;
  #snapshot;
  /** @type {BroadcastChannel | undefined} */
  #channel;
  #toldAt = -Infinity;
  #isMine = false;

  /**
   * @param {string} name
   * @param {() => Snapshot} snapshot
   */
  constructor(name, snapshot) {
    this.#name = name;
    this.#snapshot = snapshot;
  }

  /**
   * Runs this when no other tab has the name; until then hears what that one does.
   *
   * @template T
   * @param {() => Promise<T>} run
   * @param {{ signal: AbortSignal, hear: (snapshot: Snapshot) => T | undefined }} options what `hear` answers, once that is
   *   anything, is the result, and `run` is not called; when the signal fires, its reason is thrown
   * @returns {Promise<T>}
   */
  async alone(run, { signal, hear }) {
    const { locks } = globalThis.navigator ?? {};
    if (!locks) return run();
    const channel = (this.#channel = new BroadcastChannel(CHANNEL));
    const mine = () => {
      this.#isMine = true;
      return run();
    };
    /** @type {AbortController} */
    const heard = new AbortController();
    /** @type {T | undefined} */
    let result;
    channel.onmessage = ({ data: { name, snapshot } }) => {
      if (name !== this.#name) return;
      if (this.#isMine) {
        if (!snapshot) this.tell(true);
      } else if (snapshot) {
        result = hear(snapshot);
        if (result !== undefined) heard.abort();
      }
    };
    try {
      const taken = await locks.request(this.#name, { ifAvailable: true }, async (lock) => lock && { value: await mine() });
      if (taken) return taken.value;
      channel.postMessage({ name: this.#name }); // asks how far it is
      const either = AbortSignal.any ? AbortSignal.any([signal, heard.signal]) : signal;
      return await locks.request(this.#name, { signal: either }, () => result ?? mine());
    } catch (thrown) {
      if (result !== undefined) return result;
      signal.throwIfAborted();
      throw thrown;
    } finally {
      this.#channel = undefined;
      channel.close();
    }
  }

  /**
   * Tells the others how far this one is.
   *
   * @param {boolean} [now] also if they were told just before
   */
  tell(now = false) {
    if (!this.#isMine || (!now && performance.now() - this.#toldAt < TELL_MS)) return;
    this.#toldAt = performance.now();
    this.#channel?.postMessage({ name: this.#name, snapshot: this.#snapshot() });
  }
}

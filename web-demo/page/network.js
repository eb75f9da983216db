// @ts-check
/**
 * The network simulator: holds bytes back, loses them, or lets none through, so that anyone sees what an upload does then.
 * It stands where the client lets something stand: in place of `fetch` and of the `PUT` of a part.
 */
import { send as sendForReal, UploadError } from "../client/index.js";

/** @typedef {"real" | "slow" | "lossy" | "offline"} Mode */

const MODES = ["real", "slow", "lossy", "offline"];
/** What each connection of a slow network takes. */
const BYTES_PER_SECOND = 2_000_000;
/** Of how many parts a lossy network loses one. By turns, not by chance: whoever looks is to see it, however few the parts. */
const LOSS = 3;
const STEP_MS = 100;
const STORED = "partita.network";

/** @type {Mode} */
let mode = /** @type {Mode} */ (MODES.find((each) => each === read()) ?? "real");
let wake = new AbortController();
let lossyPuts = 0;

// Whoever asks the browser is told the same.
const { onLine } = Object.getOwnPropertyDescriptors(Navigator.prototype);
Object.defineProperty(navigator, "onLine", { get: () => mode !== "offline" && onLine.get?.call(navigator) });

/** How the network is now. */
export function networkMode() {
  return mode;
}

/** @param {Mode} next */
export function setNetworkMode(next) {
  const before = mode;
  mode = next;
  try {
    sessionStorage.setItem(STORED, mode);
  } catch {
    // storage may be forbidden: then it ends with the page
  }
  wake.abort();
  wake = new AbortController();
  if ((before === "offline") !== (mode === "offline")) dispatchEvent(new Event(mode === "offline" ? "offline" : "online"));
}

/** Begins in the mode that it was left in, since reloading is part of the show. */
export function startNetwork() {
  if (mode === "offline") dispatchEvent(new Event("offline"));
}

/** @type {typeof fetch} */
export const fetchThrough = async (input, init) => {
  if (mode === "offline") throw new TypeError("simulated: no network");
  return fetch(input, init);
};

/** @type {import("../client/index.js").Send} */
export const sendThrough = async (target, body, options) => {
  const { signal, onProgress } = options;
  if (mode === "real") return sendForReal(target, body, options);
  const lostAt = mode === "lossy" && ++lossyPuts % LOSS === 0 ? Math.random() * body.size : Infinity;
  let held = 0;
  while (networkMode() !== "real" && held < body.size) {
    const { signal: changed } = wake;
    await pause(STEP_MS, AbortSignal.any([signal, changed]));
    if (signal.aborted) throw new UploadError("interrupted", "Stopped.");
    held += (BYTES_PER_SECOND * STEP_MS) / 1000;
    if (networkMode() === "offline" || held > lostAt) {
      throw new UploadError("storage-unreachable", "S3 does not answer (simulated).", { retryable: true });
    }
    onProgress(Math.min(held, body.size * 0.98));
  }
  // What was shown as gone goes now.
  return sendForReal(target, body, { ...options, onProgress: (bytes) => onProgress(Math.max(bytes, Math.min(held, body.size * 0.98))) });
};

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve(undefined)), { once: true });
  });
}

function read() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
}

// @ts-check
/** Sends the parts that are missing, several at a time, until S3 has them all. */
import { connectionsTo } from "./connections.js";
import { unreadable, UploadError } from "./errors.js";
import { sleep, Tries } from "./retry.js";

/** How often S3 may refuse fresh URLs for the same part before the upload fails. */
const MAX_REFUSALS = 4;

/**
 * @typedef {object} Sending
 * @property {import("./parts.js").Parts} parts
 * @property {import("./gate.js").Gate} gate
 * @property {import("./signer.js").Signer} signer
 * @property {import("./send.js").Send} send
 * @property {number} most connections to S3
 * @property {number} stallMs
 * @property {(partNumber: number) => void} begun
 * @property {(partNumber: number, etag: string | null) => void} stored
 * @property {(partNumber: number, error: UploadError, delayMs: number) => void} onRetry
 */

/**
 * Ends when every part of the queue is stored; on a failure when what was under way has come to rest.
 *
 * @param {Sending} sending
 * @param {number[]} queue part numbers, ascending
 */
export async function sendParts(sending, queue) {
  const { gate, signer } = sending;
  /** @type {Set<Promise<void>>} */
  const active = new Set();
  /** @type {Map<number, { tries: Tries, refusals: number }>} */
  const troubles = new Map();
  try {
    while (queue.length > 0 || active.size > 0) {
      await gate.pass();
      // Parts that wait for another try count, or each one in the queue would be thrown at an S3 that is away.
      if (queue.length === 0 || active.size >= sending.most) {
        await Promise.race(active);
        continue;
      }
      const { url } = await gate.persist(() => signer.first(queue));
      const connections = connectionsTo(url, sending.most);
      const lane = await connections.take(gate.session);
      if (lane === undefined) continue;
      // Its turn may have come late, or a part that failed has come back to the front.
      if (!signer.has(queue[0])) {
        connections.free(lane);
        continue;
      }
      const target = await signer.first(queue);
      const { partNumber } = target;
      // Not the first: a part that failed may have come to the front in that moment.
      queue.splice(queue.indexOf(partNumber), 1);
      const trouble = troubles.get(partNumber) ?? { tries: new Tries(), refusals: 0 };
      troubles.set(partNumber, trouble);
      const task = sendPart(sending, target, { connections, lane, trouble })
        .then((done) => {
          if (!done) queue.unshift(partNumber);
        })
        .catch((thrown) => gate.close(UploadError.from(thrown)))
        .finally(() => active.delete(task));
      active.add(task);
    }
  } finally {
    await Promise.all(active);
  }
  gate.end.throwIfAborted();
}

/**
 * One try.
 *
 * @param {Sending} sending
 * @param {import("./signer.js").PartUrl} target
 * @param {{ connections: import("./connections.js").Connections, lane: number, trouble: { tries: Tries, refusals: number } }} by
 * @returns {Promise<boolean>} whether the part is stored; if not, it is to be tried again, now
 */
async function sendPart({ parts, gate, signer, send, stallMs, begun, stored, onRetry }, target, { connections, lane, trouble }) {
  const { partNumber, size } = target;
  let error;
  parts.set(partNumber, "sending", lane);
  begun(partNumber);
  try {
    const bytes = parts.bytesOf(partNumber);
    await assertReadable(bytes);
    const onProgress = (/** @type {number} */ sent) => parts.sent(partNumber, sent, lane);
    const etag = await send(target, bytes, { signal: gate.session, stallMs, onProgress });
    parts.set(partNumber, "stored", lane);
    stored(partNumber, etag);
    connections.free(lane, size);
    return true;
  } catch (thrown) {
    error = UploadError.from(thrown);
    if (error.code === "storage-busy" || error.code === "stalled") connections.slower();
    connections.free(lane);
  }
  parts.set(partNumber, error.code === "interrupted" ? "pending" : "retrying", lane);
  if (error.code === "interrupted") return false;
  // A busy S3 has accepted the signature; after anything else a fresh one can only help: CORS hides what S3 has said.
  if (error.code !== "storage-busy") signer.forget(partNumber);
  if (error.code === "url-refused") {
    // Most likely expired: signed again, and tried again at once.
    if (++trouble.refusals % 2 === 1) return false;
    error = new UploadError(error.code, error.message, { retryable: trouble.refusals < MAX_REFUSALS, status: error.status });
  }
  const delay = trouble.tries.next(error);
  onRetry(partNumber, error, delay);
  await sleep(delay, gate.session);
  return false;
}

/**
 * Browsers say no more than "network error" when they can no longer read a file, and Firefox sends on without an end where
 * one has become shorter.
 *
 * @param {Blob} bytes
 */
async function assertReadable(bytes) {
  try {
    const last = await bytes.slice(-1).arrayBuffer();
    if (last.byteLength === 0) throw new RangeError("The file has become shorter.");
  } catch (cause) {
    throw unreadable(cause);
  }
}

// @ts-check
/** Checksums of files, made in a worker so that they hold nobody up; where there are no workers (Node), in place. */
import { unreadable } from "./errors.js";

/**
 * @typedef {{ file: Blob, ranges: [start: number, end: number][] } | { sums: string[], partSize: number, lastSize: number }} Task
 * @typedef {{ task: Task, resolve: (result: string) => void, reject: (reason: unknown) => void }} Waiting
 */

const MIB = 1024 * 1024;

/** One for all uploads of a page; `null` where there can be none. @type {Worker | null | undefined} */
let worker;
/** @type {Map<number, Waiting>} */
const waiting = new Map();
let lastId = 0;

/**
 * CRC-64/NVME of these ranges of a file, one after the other.
 *
 * @param {Blob} file
 * @param {...[start: number, end: number]} ranges
 * @returns {Promise<string>} 16 hexadecimal digits
 * @throws {UploadError} `file-unreadable`
 */
export function checksum(file, ...ranges) {
  return run({ file, ranges }).catch((cause) => {
    throw unreadable(cause);
  });
}

/**
 * The checksum of a file from those of its parts, as S3 writes it.
 *
 * @param {string[]} sums of each part in order
 * @param {number} partSize of each but the last
 * @param {number} size of the file
 * @returns {Promise<string>} base64
 */
export async function checksumOfWhole(sums, partSize, size) {
  return base64(await run({ sums, partSize, lastSize: size - (sums.length - 1) * partSize }));
}

/**
 * The fingerprint by which browsers and command lines find the same upload again: `p1-<size>-<CRC-64/NVME of the first,
 * middle and last MiB>`, or of the whole file up to 3 MiB. It tells files apart; it does not prove them equal.
 *
 * @param {Blob} file
 * @returns {Promise<string>}
 * @throws {UploadError} `file-unreadable`
 */
export async function fingerprint(file) {
  const { size } = file;
  const middle = Math.floor((size - MIB) / 2);
  /** @type {[number, number][]} */
  const samples = size <= 3 * MIB ? [[0, size]] : [[0, MIB], [middle, middle + MIB], [size - MIB, size]];
  return `p1-${size}-${await checksum(file, ...samples)}`;
}

/** @param {string} hex */
export function base64(hex) {
  return btoa(hex.replace(/../g, (byte) => String.fromCharCode(parseInt(byte, 16))));
}

/**
 * @param {Task} task
 * @returns {Promise<string>}
 */
function run(task) {
  if (worker === undefined) start();
  if (!worker) return inPlace(task);
  return new Promise((resolve, reject) => {
    waiting.set(++lastId, { task, resolve, reject });
    worker?.postMessage({ id: lastId, task });
  });
}

function start() {
  worker = null;
  if (typeof Worker === "undefined") return;
  try {
    worker = new Worker(new URL("./checksum-worker.js", import.meta.url), { type: "module" });
  } catch {
    return; // a script of another origin may not start one
  }
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = /** @type {Waiting} */ (waiting.get(id));
    waiting.delete(id);
    if (error) reject(error);
    else resolve(result);
  };
  worker.onerror = () => {
    // It cannot be loaded, for example because the page's policy forbids it.
    worker = null;
    for (const { task, resolve, reject } of waiting.values()) inPlace(task).then(resolve, reject);
    waiting.clear();
  };
}

/** @param {Task} task */
async function inPlace(task) {
  const { combine, sum } = await import("./crc64.js");
  return "file" in task ? sum(task.file, task.ranges) : combine(task.sums, task.partSize, task.lastSize);
}

// @ts-check
/**
 * What this browser knows of its unfinished uploads, in IndexedDB. The service and S3 have the truth about parts; here is
 * what they cannot know: where the file is, and the checksums that were made of it. Without IndexedDB nothing is kept.
 */

/**
 * @typedef {object} Entry
 * @property {string} id the upload's
 * @property {string} endpoint
 * @property {string} fingerprint
 * @property {string} filename
 * @property {FileSystemFileHandle} [handle] where the browser has such
 * @property {Record<number, string>} sums CRC-64/NVME of parts, as hexadecimal digits
 */

const NAME = "partita";
const STORE = "uploads";

/** @type {Promise<IDBDatabase | undefined> | undefined} */
let opened;

/**
 * The uploads begun at this address and not ended.
 *
 * @param {string} endpoint
 * @returns {Promise<Entry[]>}
 */
export async function entries(endpoint) {
  /** @type {Entry[]} */
  const all = (await run("readonly", (store) => store.getAll())) ?? [];
  return all.filter((entry) => entry.endpoint === endpoint);
}

/** @param {Entry} entry */
export function keep(entry) {
  return run("readwrite", (store) => store.put(entry));
}

/** @param {string} id */
export function forget(id) {
  return run("readwrite", (store) => store.delete(id));
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} request
 * @returns {Promise<T | undefined>} nothing where storage is forbidden or full: then only the service remembers
 */
async function run(mode, request) {
  try {
    const database = await (opened ??= open());
    return database && (await settled(request(database.transaction(STORE, mode).objectStore(STORE))));
  } catch {
    return undefined;
  }
}

/** @returns {Promise<IDBDatabase | undefined>} */
async function open() {
  if (!globalThis.indexedDB) return undefined;
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return settled(request);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

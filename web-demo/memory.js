// @ts-check
/** Which uploads were begun in this browser, so that they are found again after a reload. The service has the truth. */

/** @typedef {{ uploadId: string, filename: string, size: number, fingerprint: string }} Memo */

const KEY = "partita.uploads";

/** @returns {Memo[]} */
export function remembered() {
  try {
    const memos = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(memos) ? memos : [];
  } catch {
    return []; // storage may be forbidden: then only the service remembers
  }
}

/** @param {Memo} memo */
export function remember(memo) {
  store([...remembered().filter(({ uploadId }) => uploadId !== memo.uploadId), memo]);
}

/** @param {string} uploadId */
export function forget(uploadId) {
  store(remembered().filter((memo) => memo.uploadId !== uploadId));
}

/** @param {Memo[]} memos */
function store(memos) {
  try {
    localStorage.setItem(KEY, JSON.stringify(memos));
  } catch {
    // as above
  }
}

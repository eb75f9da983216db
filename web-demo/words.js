// @ts-check
/** What the page says: sizes, times, and what went wrong, in plain words. */

/** @typedef {import("./transport.js").UploadError} UploadError */

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];
const MIB = 1024 * 1024;

/**
 * @param {number} bytes
 * @returns {string} for example `735 MB`
 */
export function formatBytes(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return bytes === 1 ? "1 byte" : `${number.format(value)} ${UNITS[unit]}`;
}

/**
 * Parts are planned in whole MiB, and read better so.
 *
 * @param {number} bytes
 * @returns {string} for example `8 MiB`
 */
export function formatPartSize(bytes) {
  return bytes % MIB === 0 && bytes > 0 ? `${bytes / MIB} MiB` : formatBytes(bytes);
}

/**
 * @param {number} ms
 * @returns {string} for example `12.4 s` or `3 min 5 s`
 */
export function formatDuration(ms) {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * An estimate, so rounded like one.
 *
 * @param {number} ms
 * @returns {string} for example `about 2 min left`
 */
export function formatTimeLeft(ms) {
  const seconds = ms / 1000;
  if (seconds < 1.5) return "a moment left";
  if (seconds < 60) return `${Math.round(seconds)} s left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `about ${minutes} min left`;
  return `about ${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

/**
 * @param {string} time RFC 3339
 * @returns {string} for example `5 minutes ago`
 */
export function formatAgo(time) {
  const minutes = Math.round((Date.parse(time) - Date.now()) / 60_000);
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (minutes > -1) return "just now";
  if (minutes > -60) return relative.format(minutes, "minute");
  if (minutes > -60 * 24) return relative.format(Math.round(minutes / 60), "hour");
  return relative.format(Math.round(minutes / 60 / 24), "day");
}

/** Codes whose meaning for a visitor is more than their `detail` says. @type {Record<string, string>} */
const SENTENCES = {
  "service-unreachable": "The upload service does not answer.",
  "storage-unreachable": "The storage cannot be reached from this browser: no network, or its CORS rule does not allow this page.",
  "storage-busy": "The storage is busy.",
  "url-refused": "The storage did not accept a signed link.",
  stalled: "No bytes have gone through for half a minute.",
  "file-unreadable": "The browser can no longer read this file. It was changed, moved or deleted since it was chosen.",
  unauthenticated: "This service asks for a token, and this page has none.",
  "invalid-token": "This service asks for a token, and this page has none.",
  "storage-refused": "The service may not use its storage bucket. Its operator has to look into the permissions.",
  "storage-unavailable": "The storage does not answer the service.",
  "upload-not-found": "The service does not know this upload any more.",
  "upload-expired": "This upload has waited too long and has expired.",
  "upload-aborted": "This upload was cancelled elsewhere.",
  "key-exists": "Another object has taken this file's place in the bucket.",
  "quota-open-uploads": "There are too many unfinished uploads. Finish or discard one first.",
  "rate-limited": "Too many requests in a short time.",
  overloaded: "The service is overloaded.",
};

/**
 * What went wrong, for a visitor.
 *
 * @param {UploadError} error
 * @returns {string}
 */
export function explain(error) {
  const { code, problem } = error;
  if (code === "file-too-large" && problem?.maxSize) return `This file is too large. The largest allowed is ${formatBytes(problem.maxSize)}.`;
  if (code === "storage-error") return `The storage refused a part. ${error.message}`;
  return SENTENCES[code] ?? [problem?.title, problem?.detail ?? error.message].filter(Boolean).map(asSentence).join(" ");
}

/** @param {string | undefined} text */
function asSentence(text) {
  return text && /[.!?]$/.test(text) ? text : `${text}.`;
}

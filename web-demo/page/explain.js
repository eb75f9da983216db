// @ts-check
import { formatBytes, t } from "./i18n.js";

/**
 * What went wrong, for a visitor: in their language where the page has words for it, otherwise as the service says it.
 *
 * @param {import("../client/index.js").UploadError} error
 * @returns {string}
 */
export function explain({ code, message, problem }) {
  const key = /** @type {import("./i18n.js").Key} */ (`error.${code}`);
  const text = t(key, { size: formatBytes(problem?.maxSize ?? 0), message });
  if (text !== key) return text;
  return [problem?.title, problem?.detail ?? message].filter(Boolean).map(asSentence).join(" ");
}

/** @param {string | undefined} text */
function asSentence(text) {
  return text && /[.!?]$/.test(text) ? text : `${text}.`;
}

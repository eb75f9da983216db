// @ts-check
/** Files, and the handles by which some browsers find them again. */
import { unreadable } from "./errors.js";

/** @typedef {FileSystemFileHandle & { queryPermission?: Ask, requestPermission?: Ask }} Handle */
/** @typedef {(how: { mode: "read" }) => Promise<PermissionState>} Ask */

/**
 * Whether there is a way to the bytes. The visitor is asked if need be, which browsers allow only after a click.
 *
 * @param {Blob | Handle} source
 * @param {boolean} [mayAsk]
 */
export async function canRead(source, mayAsk = true) {
  if (!("getFile" in source)) return true;
  try {
    // Some browsers have handles that need no permission.
    const state = (await source.queryPermission?.({ mode: "read" })) ?? "granted";
    if (state !== "prompt" || !mayAsk) return state === "granted";
    return (await source.requestPermission?.({ mode: "read" })) === "granted";
  } catch {
    return false;
  }
}

/**
 * @param {Blob | FileSystemFileHandle} source
 * @returns {Promise<Blob>}
 * @throws {UploadError} `file-unreadable`
 */
export async function readFile(source) {
  try {
    return "getFile" in source ? await source.getFile() : source;
  } catch (cause) {
    throw unreadable(cause);
  }
}

// @ts-check
/**
 * The Partita client: sends a file to S3 in parallel parts, by URLs that the service signs, and goes on after lost
 * connections, restarts of the service, reloads of the page and crashes of the browser. No dependency; runs in browsers
 * and in Node from version 20.
 *
 * ```js
 * import { upload } from "partita-client";
 * const sending = upload(file);
 * for await (const event of sending) if (event.type === "progress") bar.value = event.sentBytes / event.size;
 * const { id } = await sending;
 * ```
 */
import { fingerprint } from "./checksum.js";
import { MOST } from "./connections.js";
import { UploadError } from "./errors.js";
import { canRead } from "./files.js";
import { entries, forget } from "./journal.js";
import { persist } from "./retry.js";
import { send } from "./send.js";
import { Service } from "./service.js";
import { isTaken } from "./tabs.js";
import { nameOf, Upload } from "./upload.js";

export { fingerprint, send, Upload, UploadError };

/** @typedef {import("./events.js").UploadEvent} UploadEvent */
/** @typedef {import("./events.js").UploadResource} UploadResource */
/** @typedef {import("./events.js").UploadState} UploadState */
/** @typedef {import("./events.js").PartState} PartState */
/** @typedef {import("./errors.js").Problem} Problem */
/** @typedef {import("./service.js").Call} Call */
/** @typedef {import("./service.js").Token} Token */
/** @typedef {import("./send.js").Send} Send */

/**
 * How to reach the service.
 *
 * @typedef {object} ConnectOptions
 * @property {string} [endpoint] the service's origin; by default the page's own
 * @property {Token} [token] sent as `Authorization: Bearer …`; a function is asked for each call, and again, with what was
 *   refused, after a `401`: if it then answers another token, the call is repeated
 * @property {boolean} [checksum] whether the service is to compare a checksum of the whole file with S3's; true by default
 * @property {number} [connections] at most so many parts on their way at once to one host, 6 by default
 * @property {number} [stallMs] a part of which nothing has gone for so long begins anew; 30 s by default
 * @property {typeof fetch} [fetch] takes the place of the global one, for the calls to the service
 * @property {Send} [send] takes the place of the `PUT` of a part
 */

/**
 * What to make of a file.
 *
 * @typedef {object} UploadOptions
 * @property {string} [filename] by default the file's own; a Blob has none
 * @property {string} [contentType] by default what the file says
 * @property {string} [preset] one of the service's, by name
 * @property {number} [partSize] in bytes, whole MiB from 5 on; by default as the service plans
 * @property {Record<string, string>} [metadata] kept with the object
 * @property {AbortSignal} [signal] gives the upload up, as `abort()` does
 * @property {boolean} [findOpen] whether to look at the service, too, for an open upload of this file, which costs a call.
 *   One that was begun in this browser is always gone on with.
 */

/**
 * An upload that can be gone on with.
 *
 * @typedef {object} Resumable
 * @property {string} id
 * @property {string} filename
 * @property {number} size
 * @property {number} storedBytes that the service knows of; S3 may have more
 * @property {string} createdAt
 * @property {boolean} isHere begun in this browser
 * @property {"ready" | "ask" | "choose"} file how its bytes are reached: at once; by a handle that the visitor has to allow,
 *   which `resume` asks for and therefore has to follow a click; or only if the same file is chosen again
 * @property {boolean} isActive a tab of this browser is at it: `resume` will watch
 * @property {UploadResource} upload
 */

/** The service, as one caller at one address. */
export class Partita {
  /** @param {ConnectOptions} [options] */
  constructor({ endpoint, token, checksum = true, connections = MOST, stallMs = 30_000, fetch, send: how = send } = {}) {
    /** Calls by the operations of the OpenAPI document, tried once. */
    this.service = new Service({ endpoint, token, fetch });
    this.checksum = checksum;
    this.most = Math.min(Math.max(connections, 1), MOST);
    this.stallMs = stallMs;
    this.send = how;
    /** Where the service is, as the browser's own records know it. */
    this.endpoint = new URL(this.service.endpoint || "/", globalThis.location?.href).href;
  }

  /**
   * Sends a file. If this browser has begun an upload of the very same file (by its fingerprint), it is gone on with.
   *
   * Guarantees: the object in S3 exists only once every part of the file is stored, and its checksum is the file's; a part
   * whose success has been seen is not sent again; in all tabs of a browser the file is sent once.
   *
   * @param {Blob | FileSystemFileHandle} file with a handle a crashed browser goes on without choosing the file again
   * @param {UploadOptions} [options]
   * @returns {Upload}
   */
  upload(file, options = {}) {
    return new Upload(this, { source: file }, options);
  }

  /**
   * Goes on with an upload that is open at the service, begun here or elsewhere. S3 is asked which parts it holds, and only
   * the others are sent. If another tab is at it, this one watches, and takes over when that one is closed.
   *
   * @param {string} uploadId
   * @param {Blob | FileSystemFileHandle} [file] may be left out where the browser has a handle; then call it after a click.
   *   Fails with `file-needed` if there is no way to the file, with `file-differs` if it is another; the upload stays as it was.
   * @param {UploadOptions} [options]
   * @returns {Upload}
   */
  resume(uploadId, file, options = {}) {
    return new Upload(this, { source: file, uploadId }, options);
  }

  /**
   * What can be gone on with: the caller's open uploads at the service, newest first.
   *
   * @param {{ fingerprint?: string, onRetry?: (error: UploadError, delayMs: number) => void }} [options] waits as long as
   *   the service is away, and tells
   * @returns {Promise<Resumable[]>}
   * @throws {UploadError}
   */
  async listResumable({ fingerprint, onRetry } = {}) {
    const open = await persist(() => this.listOpen({ fingerprint }), { onRetry });
    const known = await entries(this.endpoint);
    // What has ended elsewhere is forgotten. Completing uploads are neither open nor ended: the next visit will tell.
    for (const { id } of fingerprint ? [] : known) {
      if (open.some((upload) => upload.id === id)) continue;
      const state = await this.getUpload(id).then((upload) => upload.state, (error) => error.status === 404 && "gone");
      if (state && !["open", "completing"].includes(state)) await forget(id);
    }
    return Promise.all(
      open.map(async (upload) => {
        const entry = known.find(({ id }) => id === upload.id);
        const isReady = entry?.handle && (await canRead(entry.handle, false));
        return {
          id: upload.id,
          filename: upload.filename,
          size: upload.size ?? 0,
          storedBytes: upload.recordedBytes,
          createdAt: upload.createdAt,
          isHere: entry !== undefined,
          file: isReady ? "ready" : entry?.handle ? "ask" : "choose",
          isActive: await isTaken(nameOf(this.endpoint, upload.fingerprint ?? "")),
          upload,
        };
      }),
    );
  }

  /**
   * @param {{ fingerprint?: string }} [filter]
   * @returns {Promise<UploadResource[]>} tried once
   */
  async listOpen({ fingerprint } = {}) {
    /** @type {Record<string, string>} */
    const query = { state: "open", ...(fingerprint ? { fingerprint } : {}) };
    /** @type {UploadResource[]} */
    const found = [];
    do {
      const { body } = await this.service.call("listUploads", { query });
      found.push(...body.items);
      query.cursor = body.nextCursor;
    } while (query.cursor);
    // Without a fingerprint nobody can tell the file.
    return found.filter((upload) => upload.fingerprint && upload.size !== undefined);
  }

  /**
   * One upload, as it is now; tried once.
   *
   * @param {string} uploadId
   * @returns {Promise<UploadResource>}
   * @throws {UploadError} `upload-not-found` among others
   */
  async getUpload(uploadId) {
    return (await this.service.call("getUpload", { ids: [uploadId] })).body;
  }

  /**
   * Gives an upload up: S3 drops its parts. Succeeds also if it was given up before.
   *
   * @param {string} uploadId
   * @returns {Promise<void>}
   * @throws {UploadError} `already-completed` if it is too late
   */
  async abort(uploadId) {
    await persist(() => this.service.call("abortUpload", { ids: [uploadId] }));
    await forget(uploadId);
  }
}

/**
 * Sends a file: {@link Partita.upload}, with both kinds of options in one.
 *
 * @param {Blob | FileSystemFileHandle} file
 * @param {ConnectOptions & UploadOptions} [options]
 * @returns {Upload}
 */
export function upload(file, options = {}) {
  return new Partita(options).upload(file, options);
}

/**
 * Goes on with an upload: {@link Partita.resume}.
 *
 * @param {string} uploadId
 * @param {Blob | FileSystemFileHandle} [file]
 * @param {ConnectOptions & UploadOptions} [options]
 * @returns {Upload}
 */
export function resume(uploadId, file, options = {}) {
  return new Partita(options).resume(uploadId, file, options);
}

/**
 * What can be gone on with: {@link Partita.listResumable}.
 *
 * @param {ConnectOptions} [options]
 * @returns {Promise<Resumable[]>}
 */
export function listResumable(options = {}) {
  return new Partita(options).listResumable();
}

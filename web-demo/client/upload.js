// @ts-check
import { fingerprint } from "./checksum.js";
import { UploadError } from "./errors.js";
import { Events } from "./events.js";
import { canRead, readFile } from "./files.js";
import { Gate } from "./gate.js";
import { entries } from "./journal.js";
import { parseRanges } from "./ranges.js";
import { Tabs } from "./tabs.js";
import { Transfer } from "./transfer.js";

/** @typedef {import("./events.js").UploadResource} UploadResource */
/** @typedef {import("./events.js").UploadState} UploadState */
/** @typedef {import("./events.js").UploadEvent} UploadEvent */
/** @typedef {"preparing" | "elsewhere" | "sending" | "completing" | "completed" | "failed" | "aborted"} Phase */
/** @typedef {import("./index.js").UploadOptions} UploadOptions */

/**
 * The name by which the tabs of a browser know the upload of a file.
 *
 * @param {string} endpoint
 * @param {string} mark its fingerprint
 */
export const nameOf = (endpoint, mark) => `partita ${endpoint} ${mark}`;

/**
 * One file on its way: a promise of the completed upload, which can be paused, and iterated over for what happens.
 *
 * Steps that fail in passing (network, 408, 429, 5xx, an expired URL) are tried again; the upload fails only when a step
 * cannot succeed or has failed for five minutes. A failed upload stays open at the service, and can be gone on with.
 *
 * @extends {Promise<UploadResource>}
 */
export class Upload extends Promise {
  /** What comes of `then` is a plain promise. */
  static get [Symbol.species]() {
    return Promise;
  }

  #client;
  #options;
  /** @type {Blob | undefined} */
  #file;
  /** @type {FileSystemFileHandle | undefined} */
  #handle;
  /** @type {Transfer | undefined} */
  #transfer;
  /** @type {Phase} */
  #phase = "preparing";
  /** @type {UploadState} */
  #told = "preparing";
  #events = new Events();
  #ended = false;
  #gate = new Gate(
    () => this.#tellState(),
    (error, delayMs) => this.#emit({ type: "retry", error, delayMs }),
  );
  #fingerprint = "";
  /** What another tab says of it, while this one watches. @type {import("./tabs.js").Snapshot | undefined} */
  #watched;
  /** @type {Tabs | undefined} */
  #tabs;

  /**
   * Made by `upload()` and `resume()`.
   *
   * @param {import("./index.js").Partita} client
   * @param {{ source?: Blob | FileSystemFileHandle, uploadId?: string }} what
   * @param {UploadOptions} options
   */
  constructor(client, { source, uploadId }, options) {
    /** @type {(resource: UploadResource | Promise<UploadResource>) => void} */
    let resolve = () => {};
    super((settle) => (resolve = settle));
    this.#client = client;
    this.#options = options;
    // Whoever only listens to events need not handle the promise.
    this.catch(() => {});
    // Not before whoever made this upload had a chance to listen.
    resolve(Promise.resolve().then(() => this.#run(source, uploadId)));
  }

  /** The upload's id, once the service has given it one; also the id of the file that comes of it. */
  get id() {
    return this.resource?.id;
  }

  /** The upload as the service last described it. */
  get resource() {
    return this.#transfer?.resource ?? this.#watched?.upload;
  }

  /** The file's fingerprint, once it has been read. */
  get fingerprint() {
    return this.#fingerprint;
  }

  /** @returns {UploadState} */
  get state() {
    if (this.#phase !== "preparing" && this.#phase !== "sending") return this.#phase;
    if (this.#gate.end.reason?.code === "aborted") return "aborted";
    return this.#gate.paused ? "paused" : this.#gate.offline ? "offline" : this.#phase;
  }

  /** Bytes that S3 has acknowledged. */
  get storedBytes() {
    return this.#watched?.storedBytes ?? this.#transfer?.parts.storedBytes ?? 0;
  }

  /** Bytes that S3 has, or that have gone of the parts being sent. */
  get sentBytes() {
    return this.#watched?.sentBytes ?? this.#transfer?.parts.sentBytes ?? 0;
  }

  /**
   * What happens, from now on: first where it stands, at the end no more. Leaving the loop leaves the upload alone.
   *
   * @returns {AsyncIterableIterator<UploadEvent>}
   */
  [Symbol.asyncIterator]() {
    /** @type {UploadEvent[]} */
    const first = [{ type: "state", state: this.state }];
    const upload = this.resource;
    if (upload) first.push({ type: "plan", upload, missing: parseRanges(this.#snapshot().missing) });
    return this.#events.read(first);
  }

  /** Stops sending at once; parts under way begin again on `resume()`. Too late while completing. */
  pause() {
    this.#gate.pause(true);
  }

  /** Goes on after `pause()`. */
  resume() {
    this.#gate.pause(false);
  }

  /**
   * Gives the upload up for good: sending stops at once, the service is told, and the promise fails with `aborted` after
   * that. Without effect once the upload is completing or ended.
   */
  abort() {
    if (this.#phase === "completing" || this.#ended) return;
    this.#gate.close(new UploadError("aborted", "The upload was given up."));
  }

  /**
   * @param {Blob | FileSystemFileHandle} [source]
   * @param {string} [uploadId]
   */
  async #run(source, uploadId) {
    const { signal } = this.#options;
    const abort = () => this.abort();
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) this.abort();
    const unwatch = this.#gate.watchNetwork(() => this.#client.service.call("listUploads", { query: { limit: "1" } }));
    try {
      this.#gate.end.throwIfAborted();
      await this.#prepare(source, uploadId);
      const tabs = (this.#tabs = new Tabs(nameOf(this.#client.endpoint, this.#fingerprint), () => this.#snapshot()));
      const hear = (/** @type {import("./tabs.js").Snapshot} */ told) => this.#hear(told);
      return await tabs.alone(() => this.#work(uploadId), { signal: this.#gate.end, hear });
    } catch (thrown) {
      this.#gate.close(UploadError.from(thrown));
      const error = /** @type {UploadError} */ (this.#gate.end.reason);
      this.#enter(error.code === "aborted" ? "aborted" : "failed");
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
      unwatch();
      this.#ended = true;
      this.#events.end();
    }
  }

  /**
   * Finds the file, and out whose it is.
   *
   * @param {Blob | FileSystemFileHandle} [source]
   * @param {string} [uploadId]
   */
  async #prepare(source, uploadId) {
    const entry = uploadId ? (await entries(this.#client.endpoint)).find(({ id }) => id === uploadId) : undefined;
    source ??= entry?.handle;
    if (source && "getFile" in source) this.#handle = source;
    // Only one that was just chosen is sure to be readable: another tab may be at it, and then it is not needed here.
    if (source && (source !== entry?.handle || (await canRead(source)))) this.#file = await readFile(source);
    if (this.#file) this.#fingerprint = await fingerprint(this.#file);
    else if (uploadId) {
      const ask = async () => (await this.#client.getUpload(uploadId)).fingerprint;
      this.#fingerprint = entry?.fingerprint ?? (await this.#gate.persist(ask)) ?? uploadId;
    }
  }

  /**
   * The one tab that does it.
   *
   * @param {string} [uploadId]
   */
  async #work(uploadId) {
    const known = this.#watched?.upload?.id;
    this.#watched = undefined;
    this.#enter("preparing");
    if (!this.#file) throw new UploadError("file-needed", "The file has to be chosen again.");
    this.#transfer = new Transfer({
      client: this.#client,
      options: this.#options,
      file: this.#file,
      fingerprint: this.#fingerprint,
      handle: this.#handle,
      gate: this.#gate,
      emit: (event) => this.#emit(event),
      enter: (phase) => this.#enter(phase),
    });
    const upload = await this.#transfer.run(uploadId ?? known);
    this.#enter("completed");
    return upload;
  }

  /**
   * What the tab tells that is at it.
   *
   * @param {import("./tabs.js").Snapshot} told
   * @returns {UploadResource | undefined} the upload, once it is completed
   */
  #hear(told) {
    const { state, upload, sentBytes, storedBytes, missing } = told;
    const isFirst = !this.#watched?.upload;
    this.#watched = told;
    if (state === "aborted") this.#gate.close(new UploadError("aborted", "The upload was given up in another tab."));
    if (state === "completed") {
      this.#enter("completed");
      return upload;
    }
    this.#enter("elsewhere");
    if (upload && isFirst) this.#emit({ type: "plan", upload, missing: parseRanges(missing) });
    if (upload) this.#emit({ type: "progress", sentBytes, storedBytes, size: upload.size ?? 0 });
    return undefined;
  }

  /** @returns {import("./tabs.js").Snapshot} */
  #snapshot() {
    const { parts } = this.#transfer ?? {};
    const { sentBytes = 0, storedBytes = 0, missingRanges = "" } = parts ?? {};
    return { state: this.state, upload: this.resource, missing: missingRanges, sentBytes, storedBytes };
  }

  /** @param {UploadEvent} event */
  #emit(event) {
    this.#events.emit(event);
    this.#tabs?.tell(event.type === "plan");
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.#phase = phase;
    this.#tellState();
  }

  #tellState() {
    if (this.state === this.#told) return;
    this.#told = this.state;
    this.#events.emit({ type: "state", state: this.state });
    this.#tabs?.tell(true);
  }
}

// @ts-check
/**
 * The Partita client for browsers: sends a file to S3 in parallel parts, by URLs that the service signs, and goes on
 * after lost connections, restarts of the service and reloads of the page. No DOM, no dependency.
 *
 * ```js
 * import { Partita } from "./partita.js";
 * const upload = new Partita().upload(file);
 * upload.on("progress", ({ sentBytes, size }) => console.log(sentBytes / size));
 * const { id } = await upload.done;
 * ```
 */
import { Crc64Nvme } from "./crc64nvme.js";
import { formatRanges, parseRanges } from "./ranges.js";
import { Recorder } from "./recorder.js";
import { Signer, SIGN_WINDOW } from "./signer.js";
import { callService, persist, putPart, sleep, UploadError } from "./transport.js";

export { UploadError };

/**
 * An upload as the service describes it (`Upload` in its OpenAPI document); the members that this client reads.
 *
 * @typedef {object} UploadResource
 * @property {string} id
 * @property {"creating" | "open" | "completing" | "completed" | "deleting" | "deleted" | "aborting" | "aborted" | "failed"} state
 * @property {string} filename
 * @property {number} [size]
 * @property {number} partSize
 * @property {number} [partCount]
 * @property {string} [partChecksum]
 * @property {number} recordedParts
 * @property {number} recordedBytes
 * @property {string} [missingParts]
 * @property {string} [fingerprint]
 * @property {string} createdAt
 */

/** @typedef {import("./signer.js").PartUrl} PartUrl */
/** @typedef {"preparing" | "sending" | "paused" | "offline" | "completing" | "completed" | "failed" | "cancelled"} UploadState */
/** @typedef {"pending" | "sending" | "retrying" | "stored"} PartState */

/**
 * What an {@link Upload} tells while it runs.
 *
 * - `state`: the state is another one now.
 * - `plan`: the upload exists at the service, and its parts are known.
 * - `part`: a part changed its state, or more of it has gone (`sentBytes`).
 * - `progress`: bytes of the file that S3 has, or that are on their way in the parts being sent.
 * - `retry`: a step failed and is tried again after `delayMs`.
 *
 * @typedef {object} UploadEvents
 * @property {UploadState} state
 * @property {UploadResource} plan
 * @property {{ partNumber: number, state: PartState, sentBytes: number, size: number }} part
 * @property {{ sentBytes: number, storedBytes: number, size: number }} progress
 * @property {{ error: UploadError, delayMs: number, partNumber?: number }} retry
 */

const MIB = 1024 * 1024;
/** How often the service is asked for the outcome of a long completion, unless it says. */
const COMPLETION_POLL_MS = 1000;
/** How often S3 may refuse fresh URLs for the same part before the upload fails. */
const MAX_REFUSALS = 4;
/** How often completion may find parts missing before the upload fails. */
const MAX_ROUNDS = 5;
/** How often the service is asked whether the network is really gone. */
const OFFLINE_PROBE_MS = 5000;

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
  const samples = size <= 3 * MIB ? [[0, size]] : [[0, MIB], [middle, middle + MIB], [size - MIB, size]];
  const crc = new Crc64Nvme();
  for (const [start, end] of samples) crc.update(await readBytes(file, start, end));
  return `p1-${size}-${crc.hex()}`;
}

/** The service, as seen from here: begins uploads, finds unfinished ones, goes on with them. */
export class Partita {
  /**
   * @param {object} [options]
   * @param {string} [options.endpoint] the service's origin, without a slash at the end; by default the page's own
   * @param {string} [options.token] sent as `Authorization: Bearer …`
   * @param {number} [options.concurrency] parts on their way at once, 4 by default. Browsers open at most 6
   *   connections to one host.
   */
  constructor({ endpoint = "", token, concurrency = 4 } = {}) {
    this.endpoint = endpoint;
    this.concurrency = concurrency;
    /** @type {Record<string, string>} */
    this.headers = token ? { Authorization: `Bearer ${token}` } : {};
  }

  /**
   * Begins a new upload of this file and starts to send it.
   *
   * Guarantees: the object in S3 exists only once every part of the file is stored; a part whose success has been seen
   * is not sent again; `done` settles exactly once.
   *
   * @param {File} file
   * @returns {Upload}
   */
  upload(file) {
    return new Upload(this, file);
  }

  /**
   * Goes on with an upload that is open at the service, begun here or elsewhere. S3 is asked which parts it holds, and
   * only the others are sent. `done` fails with `file-differs` if this is another file; the upload is left as it was.
   *
   * @param {string} uploadId
   * @param {File} file
   * @returns {Upload}
   */
  resume(uploadId, file) {
    return new Upload(this, file, uploadId);
  }

  /**
   * The caller's open uploads that this client can go on with, newest first. Waits as long as the service is away.
   *
   * @param {{ fingerprint?: string, onRetry?: (error: UploadError, delayMs: number) => void }} [options]
   * @returns {Promise<UploadResource[]>}
   * @throws {UploadError}
   */
  async openUploads({ fingerprint, onRetry } = {}) {
    const query = new URLSearchParams({ state: "open", ...(fingerprint ? { fingerprint } : {}) });
    /** @type {UploadResource[]} */
    const found = [];
    for (;;) {
      const page = await persist(() => this.call("GET", `/v1/uploads?${query}`), { onRetry });
      found.push(...page.body.items);
      if (!page.body.nextCursor) break;
      query.set("cursor", page.body.nextCursor);
    }
    // Without a fingerprint nobody can tell the file; with part checksums each part must be read before it is signed.
    return found.filter((upload) => upload.fingerprint && upload.size !== undefined && !upload.partChecksum);
  }

  /**
   * One upload, as it is now.
   *
   * @param {string} uploadId
   * @returns {Promise<UploadResource>}
   * @throws {UploadError} `upload-not-found` among others
   */
  async getUpload(uploadId) {
    return (await persist(() => this.call("GET", `/v1/uploads/${uploadId}`))).body;
  }

  /**
   * Gives an upload up: S3 drops its parts. Succeeds also if it was given up before.
   *
   * @param {string} uploadId
   * @returns {Promise<void>}
   * @throws {UploadError} `already-completed` if it is too late
   */
  async abort(uploadId) {
    await persist(() => this.call("DELETE", `/v1/uploads/${uploadId}`));
  }

  /**
   * Where a completed upload can be downloaded: redirects to S3. The id of a file is that of its upload.
   *
   * @param {string} uploadId
   * @returns {string}
   */
  downloadUrl(uploadId) {
    return `${this.endpoint}/v1/files/${uploadId}/download`;
  }

  /**
   * One call to the service, tried once.
   *
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {Record<string, string>} [headers]
   */
  call(method, path, body, headers) {
    return callService(this.endpoint + path, { method, body, headers: { ...this.headers, ...headers } });
  }
}

/**
 * One file on its way. Made by {@link Partita.upload} and {@link Partita.resume}, and started by them.
 *
 * Steps that fail in passing (network, 408, 429, 5xx, an expired URL) are tried again; the upload fails only when a
 * step cannot succeed or has failed for five minutes. A failed upload stays open at the service, so that it can be
 * gone on with by {@link Partita.resume}.
 */
export class Upload {
  #client;
  #file;
  /** @type {UploadResource | undefined} */
  #resource;
  /** @type {"preparing" | "sending" | "completing" | "completed" | "failed" | "cancelled"} */
  #phase = "preparing";
  #paused = false;
  #offline = false;
  /** Fires once, with the reason, when the upload is to end: on `cancel()`, or when one of its steps fails for good. */
  #end = new AbortController();
  /** Fires when sending has to stop; renewed when it goes on. */
  #session = new AbortController();
  /** Resolved when sending may go on. @type {(() => void)[]} */
  #waiting = [];

  /** Parts still to be taken by a lane, ascending. @type {number[]} */
  #queue = [];
  /** By part number. @type {PartState[]} */
  #parts = [];
  /** Bytes gone of the parts being sent. @type {Map<number, number>} */
  #inFlight = new Map();
  #storedBytes = 0;
  /** @type {Signer} */
  #signer;
  /** @type {Recorder} */
  #recorder;
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * @param {Partita} client
   * @param {File} file
   * @param {string} [uploadId] the upload to go on with
   */
  constructor(client, file, uploadId) {
    this.#client = client;
    this.#file = file;
    this.#signer = new Signer((parts) => this.#sign(parts));
    this.#recorder = new Recorder((parts) => this.#record(parts));
    /**
     * The completed upload, or the {@link UploadError} that ended it (`cancelled` after `cancel()`).
     *
     * @type {Promise<UploadResource>}
     */
    this.done = this.#run(uploadId);
    this.done.catch(() => {}); // whoever only listens to events need not handle the promise
  }

  /** The upload's id, once the service has given it one. */
  get id() {
    return this.#resource?.id;
  }

  /** The upload as the service last described it. */
  get resource() {
    return this.#resource;
  }

  /** @returns {UploadState} */
  get state() {
    if (this.#phase !== "preparing" && this.#phase !== "sending") return this.#phase;
    if (this.#end.signal.reason?.code === "cancelled") return "cancelled";
    return this.#paused ? "paused" : this.#offline ? "offline" : this.#phase;
  }

  /** Bytes that S3 has acknowledged. */
  get storedBytes() {
    return this.#storedBytes;
  }

  /** Bytes that S3 has, or that have gone of the parts being sent. */
  get sentBytes() {
    let sent = this.#storedBytes;
    for (const bytes of this.#inFlight.values()) sent += bytes;
    return sent;
  }

  /**
   * Listens to an event; the answer takes the listener away again.
   *
   * @template {keyof UploadEvents} K
   * @param {K} type
   * @param {(detail: UploadEvents[K]) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Stops sending at once; parts under way begin again on `resume()`. Too late while completing. */
  pause() {
    if (this.#phase !== "preparing" && this.#phase !== "sending") return;
    this.#hold(() => (this.#paused = true));
  }

  /** Goes on after `pause()`. */
  resume() {
    this.#hold(() => (this.#paused = false));
  }

  /**
   * Gives the upload up for good: sending stops at once, the service is told to abort. `done` fails with `cancelled`
   * after that. Without effect once the upload is completing or ended.
   */
  cancel() {
    if (this.#phase !== "preparing" && this.#phase !== "sending") return;
    this.#stop(new UploadError("cancelled", "The upload was cancelled."));
  }

  /**
   * @param {string} [uploadId]
   * @returns {Promise<UploadResource>}
   */
  async #run(uploadId) {
    await null; // so that whoever made this upload can listen first
    const release = this.#watchNetwork();
    try {
      if (uploadId) await this.#reopen(uploadId);
      else await this.#create();
      for (let round = 1; ; round++) {
        this.#setPhase("sending");
        await this.#sendParts();
        await this.#recorder.flush();
        await this.#mayGoOn();
        this.#setPhase("completing");
        const refused = await this.#complete();
        if (!refused) break;
        if (round === MAX_ROUNDS || refused.parts.length === 0) throw refused.error;
        for (const partNumber of refused.parts) this.#setPart(partNumber, "pending");
        this.#queue = refused.parts;
      }
      this.#setPhase("completed");
      return /** @type {UploadResource} */ (this.#resource);
    } catch (thrown) {
      this.#stop(UploadError.from(thrown));
      this.#recorder.stop();
      const error = /** @type {UploadError} */ (this.#end.signal.reason);
      if (error.code === "cancelled" && this.id) await this.#client.abort(this.id).catch(() => {});
      this.#setPhase(error.code === "cancelled" ? "cancelled" : "failed");
      throw error;
    } finally {
      release();
    }
  }

  async #create() {
    const { name, size, type } = this.#file;
    const body = {
      filename: name,
      size,
      contentType: type || undefined,
      fingerprint: await fingerprint(this.#file),
      partUrls: { count: SIGN_WINDOW },
    };
    // The key makes the repeat of a create whose answer was lost find the same upload.
    const headers = { "Idempotency-Key": randomKey() };
    const answer = await this.#persist(() => this.#client.call("POST", "/v1/uploads", body, headers));
    this.#signer.add(answer.body.partUrls ?? []);
    this.#plan(answer.body.upload);
  }

  /** @param {string} uploadId */
  async #reopen(uploadId) {
    const mine = await fingerprint(this.#file);
    const upload = await this.#persist(async () => {
      try {
        return (await this.#client.call("POST", `/v1/uploads/${uploadId}/sync`)).body;
      } catch (thrown) {
        const { code, problem } = UploadError.from(thrown);
        // All parts are there already: what is left is to complete, or to learn that it is complete.
        if (code === "already-completed" || (code === "upload-not-open" && problem?.state === "completing")) {
          return (await this.#client.call("GET", `/v1/uploads/${uploadId}`)).body;
        }
        throw thrown;
      }
    });
    if (upload.fingerprint !== mine) {
      throw new UploadError("file-differs", `This is not the file that the upload of “${upload.filename}” was begun with.`);
    }
    this.#plan(upload);
  }

  /** @param {UploadResource} upload */
  #plan(upload) {
    this.#resource = upload;
    const count = upload.partCount ?? 0;
    this.#signer.plan(count);
    this.#recorder.plan(count);
    this.#queue = upload.state === "open" ? parseRanges(upload.missingParts) : [];
    this.#parts = new Array(count + 1).fill("stored");
    for (const partNumber of this.#queue) this.#parts[partNumber] = "pending";
    this.#storedBytes = this.#file.size - this.#queue.reduce((sum, partNumber) => sum + this.#sizeOf(partNumber), 0);
    this.#emit("plan", upload);
    for (let partNumber = 1; partNumber <= count; partNumber++) this.#emitPart(partNumber);
    this.#emitProgress();
  }

  /** Empties the queue by parallel lanes. Ends when every part is stored. */
  async #sendParts() {
    const lanes = Array.from({ length: Math.min(this.#client.concurrency, this.#queue.length) }, () => this.#lane());
    // The first failure stops the other lanes; all have come to rest before it is passed on.
    await Promise.all(lanes.map((lane) => lane.catch((error) => this.#stop(UploadError.from(error)))));
    this.#end.signal.throwIfAborted();
  }

  async #lane() {
    for (;;) {
      await this.#mayGoOn();
      const partNumber = this.#queue.shift();
      if (partNumber === undefined) return;
      await this.#sendPart(partNumber);
    }
  }

  /** @param {number} partNumber */
  async #sendPart(partNumber) {
    let refusals = 0;
    await this.#persist(async () => {
      for (;;) {
        await this.#mayGoOn();
        const target = await this.#signer.take(partNumber, this.#queue);
        await this.#mayGoOn();
        this.#setPart(partNumber, "sending");
        try {
          const etag = await putPart(target, this.#file.slice(target.offset, target.offset + target.size), {
            signal: this.#session.signal,
            onProgress: (bytes) => this.#setInFlight(partNumber, Math.min(bytes, target.size)),
          });
          this.#setPart(partNumber, "stored");
          if (etag) this.#recorder.add({ partNumber, etag });
          return;
        } catch (thrown) {
          const error = UploadError.from(thrown);
          if (error.code === "interrupted") {
            this.#setPart(partNumber, "pending");
            continue;
          }
          this.#setPart(partNumber, "retrying");
          // A busy S3 has accepted the signature; after anything else a fresh one can only help.
          if (error.code !== "storage-busy") this.#signer.forget(partNumber);
          // The browser says no more than "network error" also when it can no longer read the file.
          if (error.code === "storage-unreachable") await readBytes(this.#file, target.offset, target.offset + 1);
          if (error.code !== "url-refused") throw error;
          refusals++;
          if (refusals % 2 === 1) continue; // most likely expired: sign again, and try again at once
          throw new UploadError(error.code, error.message, { retryable: refusals < MAX_REFUSALS, status: error.status });
        }
      }
    }, partNumber);
  }

  /**
   * Completes the upload, however long that takes. Answers the parts that S3 lacks, if it refuses for that.
   *
   * @returns {Promise<{ parts: number[], error: UploadError } | undefined>}
   */
  async #complete() {
    for (;;) {
      try {
        const path = `/v1/uploads/${this.id}/complete`;
        const answer = await this.#persist(() => this.#client.call("POST", path));
        this.#resource = answer.body;
        if (answer.status !== 202) return undefined;
        await sleep(answer.retryAfterMs ?? COMPLETION_POLL_MS);
      } catch (thrown) {
        const error = UploadError.from(thrown);
        if (error.code === "parts-missing") return { parts: parseRanges(error.problem?.missingParts), error };
        if (error.code === "parts-differ") return { parts: toNumbers(error.problem?.parts), error };
        throw error;
      }
    }
  }

  /**
   * @param {number[]} parts
   * @returns {Promise<PartUrl[]>}
   */
  async #sign(parts) {
    const answer = await this.#client.call("POST", `/v1/uploads/${this.id}/part-urls`, { parts: formatRanges(parts) });
    return answer.body.partUrls;
  }

  /** @param {import("./recorder.js").RecordedPart[]} parts */
  async #record(parts) {
    const { signal } = this.#end;
    const options = { before: () => signal.throwIfAborted(), wake: () => signal };
    await persist(() => this.#client.call("PUT", `/v1/uploads/${this.id}/parts`, { parts }), options);
  }

  /**
   * @template T
   * @param {() => Promise<T>} step
   * @param {number} [partNumber]
   * @returns {Promise<T>}
   */
  #persist(step, partNumber) {
    return persist(step, {
      before: () => this.#mayGoOn(),
      wake: () => this.#session.signal,
      onRetry: (error, delayMs) => this.#emit("retry", { error, delayMs, partNumber }),
    });
  }

  /** Waits while paused or offline. Fails when the upload is to end. */
  async #mayGoOn() {
    this.#end.signal.throwIfAborted();
    while (this.#paused || this.#offline) {
      await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
      this.#end.signal.throwIfAborted();
    }
  }

  /** @param {UploadError} error the first one counts */
  #stop(error) {
    this.#hold(() => this.#end.abort(error));
  }

  /**
   * Changes whether sending may go on, and tells everyone concerned.
   *
   * @param {() => void} change
   */
  #hold(change) {
    const before = this.state;
    change();
    const ended = this.#end.signal.aborted;
    const held = this.#paused || this.#offline;
    if (ended || held) this.#session.abort();
    else if (this.#session.signal.aborted) this.#session = new AbortController();
    if (ended || !held) for (const resolve of this.#waiting.splice(0)) resolve();
    if (this.state !== before) this.#emit("state", this.state);
  }

  /** Holds while the network is away. Browsers are sometimes wrong about that, so the service is asked, too. */
  #watchNetwork() {
    if (!globalThis.addEventListener) return () => {};
    const online = () => this.#hold(() => (this.#offline = false));
    const offline = async () => {
      this.#hold(() => (this.#offline = true));
      while (this.#offline && !this.#end.signal.aborted) {
        await sleep(OFFLINE_PROBE_MS);
        await this.#client.call("GET", "/v1/uploads?limit=1").then(online, () => {});
      }
    };
    addEventListener("online", online);
    addEventListener("offline", offline);
    return () => {
      this.#offline = false;
      removeEventListener("online", online);
      removeEventListener("offline", offline);
    };
  }

  /** @param {"preparing" | "sending" | "completing" | "completed" | "failed" | "cancelled"} phase */
  #setPhase(phase) {
    const before = this.state;
    this.#phase = phase;
    if (this.state !== before) this.#emit("state", this.state);
  }

  /**
   * @param {number} partNumber
   * @param {PartState} state
   */
  #setPart(partNumber, state) {
    const stored = (this.#parts[partNumber] === "stored" ? -1 : 0) + (state === "stored" ? 1 : 0);
    this.#storedBytes += stored * this.#sizeOf(partNumber);
    this.#parts[partNumber] = state;
    this.#inFlight.delete(partNumber);
    this.#emitPart(partNumber);
    this.#emitProgress();
  }

  /**
   * @param {number} partNumber
   * @param {number} bytes
   */
  #setInFlight(partNumber, bytes) {
    this.#inFlight.set(partNumber, bytes);
    this.#emitPart(partNumber);
    this.#emitProgress();
  }

  /** @param {number} partNumber */
  #sizeOf(partNumber) {
    const partSize = this.#resource?.partSize ?? 0;
    return Math.min(partSize, this.#file.size - (partNumber - 1) * partSize);
  }

  /** @param {number} partNumber */
  #emitPart(partNumber) {
    const size = this.#sizeOf(partNumber);
    const state = this.#parts[partNumber];
    const sentBytes = state === "stored" ? size : (this.#inFlight.get(partNumber) ?? 0);
    this.#emit("part", { partNumber, state, sentBytes, size });
  }

  #emitProgress() {
    this.#emit("progress", { sentBytes: this.sentBytes, storedBytes: this.#storedBytes, size: this.#file.size });
  }

  /**
   * @template {keyof UploadEvents} K
   * @param {K} type
   * @param {UploadEvents[K]} detail
   */
  #emit(type, detail) {
    for (const listener of this.#listeners.get(type) ?? []) listener(detail);
  }
}

/**
 * @param {Blob} file
 * @param {number} start
 * @param {number} end
 */
async function readBytes(file, start, end) {
  try {
    return new Uint8Array(await file.slice(start, end).arrayBuffer());
  } catch (cause) {
    throw new UploadError("file-unreadable", "The file can no longer be read.", { cause });
  }
}

/** 128 random bits. `crypto.randomUUID` exists only on secure origins. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {unknown} parts ranges, or a list of numbers or of objects with a `partNumber` */
function toNumbers(parts) {
  if (typeof parts === "string") return parseRanges(parts);
  return Array.isArray(parts) ? parts.map((part) => Number(part?.partNumber ?? part)) : [];
}

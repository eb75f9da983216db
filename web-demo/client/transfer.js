// @ts-check
/** One upload from wherever it stands to its end: found or begun at the service, sent to S3, completed. */
import { base64, fingerprint } from "./checksum.js";
import { UploadError } from "./errors.js";
import { entries, forget, keep } from "./journal.js";
import { Parts } from "./parts.js";
import { formatRanges, parseRanges } from "./ranges.js";
import { Recorder } from "./recorder.js";
import { persist, sleep } from "./retry.js";
import { sendParts } from "./sending.js";
import { Signer, SIGN_WINDOW } from "./signer.js";

/** @typedef {import("./events.js").UploadResource} UploadResource */
/** @typedef {import("./service.js").Answer} Answer */

/** How often the service is asked for the outcome of a long completion, unless it says. */
const COMPLETION_POLL_MS = 1000;
/** How often completion may find parts missing before the upload fails. */
const MAX_ROUNDS = 5;
/** The checksums that were made are written down this often. */
const KEEP_MS = 2000;
/** After these nobody wants what is at the service. */
const GIVEN_UP = ["aborted", "file-changed"];
/** After these there is nothing at the service to go on with. */
const GONE = ["upload-not-found", "upload-expired", "upload-aborted", "upload-failed", "file-deleted"];

/**
 * @typedef {object} Task
 * @property {import("./index.js").Partita} client
 * @property {import("./index.js").UploadOptions} options
 * @property {Blob} file
 * @property {string} fingerprint
 * @property {FileSystemFileHandle} [handle]
 * @property {import("./gate.js").Gate} gate
 * @property {(event: import("./events.js").UploadEvent) => void} emit
 * @property {(phase: "sending" | "completing") => void} enter
 */

export class Transfer {
  /** The upload as the service last described it. @type {UploadResource | undefined} */
  resource;
  /** @type {Parts} */
  parts;
  #task;
  #keptAt = 0;
  #signer = new Signer((parts) => this.#sign(parts));
  #recorder = new Recorder((parts) => this.#record(parts));

  /** @param {Task} task */
  constructor(task) {
    this.#task = task;
    this.parts = new Parts(task.file, task.emit);
  }

  /**
   * @param {string} [uploadId] the upload to go on with; otherwise the one of this file, if there is one
   * @returns {Promise<UploadResource>} the completed upload
   */
  async run(uploadId) {
    try {
      const missing = uploadId ? await this.#reopen(uploadId) : await this.#open();
      const upload = await this.#sendAll(missing);
      await forget(upload.id);
      return upload;
    } catch (thrown) {
      const { gate, client } = this.#task;
      // A part that failed has closed the gate before: the first reason counts.
      gate.close(UploadError.from(thrown));
      const error = /** @type {UploadError} */ (gate.end.reason);
      await this.#recorder.rest();
      const id = this.resource?.id ?? uploadId;
      if (id && GIVEN_UP.includes(error.code)) await client.abort(id).catch(() => {});
      else if (id && GONE.includes(error.code)) await forget(id);
      throw error;
    }
  }

  /**
   * Finds or begins the upload at the service.
   *
   * @returns {Promise<number[]>} the parts to be sent
   */
  async #open() {
    const { client, fingerprint } = this.#task;
    const isOurs = (/** @type {{ fingerprint?: string }} */ each) => each.fingerprint === fingerprint;
    const known = (await entries(client.endpoint)).find(isOurs)?.id ?? (await this.#findOpen());
    if (!known) return this.#create();
    try {
      return await this.#reopen(known);
    } catch (thrown) {
      if (!GONE.includes(UploadError.from(thrown).code)) throw thrown;
      await forget(known);
      return this.#create();
    }
  }

  async #findOpen() {
    const { client, fingerprint, gate, options } = this.#task;
    if (!options.findOpen) return undefined;
    return (await gate.persist(() => client.listOpen({ fingerprint })))[0]?.id;
  }

  async #create() {
    const { filename, contentType, preset, partSize, metadata } = this.#task.options;
    const file = /** @type {Blob & { name?: string }} */ (this.#task.file);
    if (!(filename ?? file.name)) throw new UploadError("invalid-filename", "A Blob has no name: give the option `filename`.");
    const body = {
      filename: filename ?? file.name,
      size: file.size,
      contentType: contentType ?? (file.type || undefined),
      fingerprint: this.#task.fingerprint,
      preset,
      partSize,
      metadata,
      partUrls: { count: SIGN_WINDOW },
    };
    // The key makes the repeat of a create whose answer was lost find the same upload.
    const headers = { "Idempotency-Key": randomKey() };
    const answer = await this.#task.gate.persist(() => this.#call("createUpload", { body, headers }));
    this.#signer.add(answer.body.partUrls ?? []);
    return this.#plan(answer.body.upload);
  }

  /** @param {string} uploadId */
  async #reopen(uploadId) {
    const upload = await this.#task.gate.persist(async () => {
      try {
        return (await this.#call("syncParts", { ids: [uploadId] })).body;
      } catch (thrown) {
        const { code, problem } = UploadError.from(thrown);
        // All parts are there already: what is left is to complete, or to learn that it is complete.
        const isThere = code === "already-completed" || (code === "upload-not-open" && problem?.state === "completing");
        if (isThere) return this.#get(uploadId);
        throw thrown;
      }
    });
    if (upload.fingerprint !== this.#task.fingerprint) {
      throw new UploadError("file-differs", `This is not the file that the upload of “${upload.filename}” was begun with.`);
    }
    const known = (await entries(this.#task.client.endpoint)).find(({ id }) => id === uploadId);
    this.parts.sums = known?.sums ?? {};
    return this.#plan(upload);
  }

  /**
   * @param {UploadResource} upload
   * @returns {number[]} the parts to be sent
   */
  #plan(upload) {
    const { partCount = 0, partChecksum } = upload;
    if (partChecksum && partChecksum !== "CRC64NVME") {
      throw new UploadError("checksum-unsupported", `The upload's parts need checksums by ${partChecksum}, which are not made here.`);
    }
    this.resource = upload;
    const missing = upload.state === "open" ? parseRanges(upload.missingParts) : [];
    this.#signer.plan(partChecksum ? 0 : partCount);
    this.#recorder.plan(partCount);
    this.#task.emit({ type: "plan", upload, missing });
    this.parts.plan(upload, missing);
    if (upload.state !== "completed") this.#keep();
    return missing;
  }

  /**
   * Sends what is missing and completes, as often as parts turn out to be missing then.
   *
   * @param {number[]} queue
   */
  async #sendAll(queue) {
    if (this.resource?.state === "completed") return this.resource;
    const { client, gate } = this.#task;
    const { send, most, stallMs } = client;
    // The others' are made while they are sent, when their bytes are at hand.
    const sums = client.checksum ? this.parts.sumStored() : undefined;
    for (let round = 1; ; round++) {
      this.#task.enter("sending");
      await sendParts(
        {
          parts: this.parts, gate, signer: this.#signer, send, most, stallMs,
          begun: (partNumber) => client.checksum && this.parts.sum(partNumber).catch(() => {}),
          stored: (partNumber, etag) => this.#stored(partNumber, etag),
          onRetry: (partNumber, error, delayMs) => this.#task.emit({ type: "retry", error, delayMs, partNumber }),
        },
        queue,
      );
      const parts = await this.#recorder.rest();
      await gate.pass();
      this.#task.enter("completing");
      await this.#assertUnchanged();
      await sums;
      const checksum = client.checksum ? { algorithm: "CRC64NVME", value: await this.parts.sumOfWhole() } : undefined;
      const refused = await this.#complete({ parts: parts.length > 0 ? parts : undefined, checksum });
      if (!refused) return /** @type {UploadResource} */ (this.resource);
      if (round === MAX_ROUNDS || refused.parts.length === 0) throw refused.error;
      for (const partNumber of refused.parts) this.parts.set(partNumber, "pending");
      queue = refused.parts;
    }
  }

  /** Not every browser notices that a file has changed, and parts of two contents would make a file that never was. */
  async #assertUnchanged() {
    if ((await fingerprint(this.#task.file)) === this.#task.fingerprint) return;
    throw new UploadError("file-changed", "The file was changed while it was sent.");
  }

  /**
   * @param {number} partNumber
   * @param {string | null} etag
   */
  #stored(partNumber, etag) {
    const sum = this.parts.sums[partNumber];
    const checksum = this.resource?.partChecksum && sum ? base64(sum) : undefined;
    if (etag) this.#recorder.add({ partNumber, etag, checksum });
    if (performance.now() - this.#keptAt > KEEP_MS) this.#keep();
  }

  /** Writes down what another visit would need. */
  #keep() {
    this.#keptAt = performance.now();
    const { client, fingerprint, handle } = this.#task;
    const { filename = "" } = this.resource ?? {};
    keep({ id: this.#id, endpoint: client.endpoint, fingerprint, filename, handle, sums: this.parts.sums });
  }

  get #id() {
    return /** @type {UploadResource} */ (this.resource).id;
  }

  /**
   * Completes the upload, however long that takes. Answers the parts that S3 lacks, if it refuses for that.
   *
   * @param {object} body
   * @returns {Promise<{ parts: number[], error: UploadError } | undefined>}
   */
  async #complete(body) {
    for (;;) {
      try {
        const answer = await this.#task.gate.persist(() => this.#call("completeUpload", { ids: [this.#id], body }));
        this.resource = answer.body;
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
   * @returns {Promise<import("./signer.js").PartUrl[]>}
   */
  async #sign(parts) {
    const sum = async (/** @type {number} */ partNumber) => ({ partNumber, checksum: base64(await this.parts.sum(partNumber)) });
    const body = this.resource?.partChecksum ? { items: await Promise.all(parts.map(sum)) } : { parts: formatRanges(parts) };
    return (await this.#call("signParts", { ids: [this.#id], body })).body.partUrls;
  }

  /** @param {import("./recorder.js").StoredPart[]} parts */
  async #record(parts) {
    const { end } = this.#task.gate;
    const step = () => this.#call("recordParts", { ids: [this.#id], body: { parts } });
    await persist(step, { before: () => end.throwIfAborted(), wake: () => end });
  }

  /** @param {string} id @returns {Promise<UploadResource>} */
  async #get(id) {
    return (await this.#task.gate.persist(() => this.#call("getUpload", { ids: [id] }))).body;
  }

  /**
   * @param {string} operationId
   * @param {Parameters<import("./service.js").Service["call"]>[1]} options
   * @returns {Promise<Answer>}
   */
  #call(operationId, options) {
    return this.#task.client.service.call(operationId, { ...options, onCall: (call) => this.#task.emit({ type: "call", call }) });
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

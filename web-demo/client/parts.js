// @ts-check
/** The parts of one file: which are stored, how much of the others has gone, and what they sum up to. */
import { checksum, checksumOfWhole } from "./checksum.js";
import { formatRanges } from "./ranges.js";

/** @typedef {import("./events.js").PartState} PartState */

export class Parts {
  /** Bytes that S3 has acknowledged. */
  storedBytes = 0;
  #file;
  #emit;
  #size = 0;
  /** By part number. @type {PartState[]} */
  #states = [];
  /** Bytes gone of the parts being sent. @type {Map<number, number>} */
  #inFlight = new Map();
  /** Checksums by part number. @type {Map<number, Promise<string>>} */
  #summing = new Map();
  /** The same, of those that are made. @type {Record<number, string>} */
  sums = {};

  /**
   * @param {Blob} file
   * @param {(event: import("./events.js").UploadEvent) => void} emit
   */
  constructor(file, emit) {
    this.#file = file;
    this.#emit = emit;
  }

  /**
   * @param {import("./events.js").UploadResource} upload
   * @param {number[]} missing
   */
  plan({ partSize, partCount = 0 }, missing) {
    this.#size = partSize;
    this.#states = new Array(partCount + 1).fill("stored");
    for (const partNumber of missing) this.#states[partNumber] = "pending";
    this.storedBytes = this.#file.size - missing.reduce((sum, partNumber) => sum + this.sizeOf(partNumber), 0);
    this.#progress();
  }

  get count() {
    return Math.max(this.#states.length - 1, 0);
  }

  /** Those that S3 does not have. */
  get missing() {
    return this.#states.flatMap((state, partNumber) => (partNumber > 0 && state !== "stored" ? partNumber : []));
  }

  get missingRanges() {
    return formatRanges(this.missing);
  }

  /** Bytes that S3 has, or that have gone of the parts being sent. */
  get sentBytes() {
    let sent = this.storedBytes;
    for (const bytes of this.#inFlight.values()) sent += bytes;
    return sent;
  }

  /** @param {number} partNumber */
  sizeOf(partNumber) {
    return Math.min(this.#size, this.#file.size - (partNumber - 1) * this.#size);
  }

  /** @param {number} partNumber */
  bytesOf(partNumber) {
    const start = (partNumber - 1) * this.#size;
    return this.#file.slice(start, start + this.sizeOf(partNumber));
  }

  /**
   * @param {number} partNumber
   * @param {PartState} state
   * @param {number} [lane]
   */
  set(partNumber, state, lane) {
    const stored = (this.#states[partNumber] === "stored" ? -1 : 0) + (state === "stored" ? 1 : 0);
    this.storedBytes += stored * this.sizeOf(partNumber);
    this.#states[partNumber] = state;
    this.#inFlight.delete(partNumber);
    this.#tell(partNumber, state === "stored" ? this.sizeOf(partNumber) : 0, lane);
  }

  /**
   * @param {number} partNumber that is being sent
   * @param {number} bytes
   * @param {number} lane
   */
  sent(partNumber, bytes, lane) {
    bytes = Math.min(bytes, this.sizeOf(partNumber));
    this.#inFlight.set(partNumber, bytes);
    this.#tell(partNumber, bytes, lane);
  }

  /**
   * The checksum of a part; made once.
   *
   * @param {number} partNumber
   * @returns {Promise<string>} hexadecimal digits
   */
  sum(partNumber) {
    const known = this.sums[partNumber];
    if (known) return Promise.resolve(known);
    const start = (partNumber - 1) * this.#size;
    const made = this.#summing.get(partNumber) ?? checksum(this.#file, [start, start + this.sizeOf(partNumber)]);
    this.#summing.set(partNumber, made);
    made.then((sum) => (this.sums[partNumber] = sum), () => {}).finally(() => this.#summing.delete(partNumber));
    return made;
  }

  /** Sees to the checksums of what was sent from elsewhere, or at another visit. */
  async sumStored() {
    const stored = this.#states.flatMap((state, partNumber) => (partNumber > 0 && state === "stored" ? partNumber : []));
    // What cannot be read is told when the whole is summed.
    for (const partNumber of stored) await this.sum(partNumber).catch(() => {});
  }

  /**
   * The checksum of the whole file, once all parts have theirs.
   *
   * @returns {Promise<string>} base64
   */
  async sumOfWhole() {
    const sums = [];
    for (let partNumber = 1; partNumber <= this.count; partNumber++) sums.push(await this.sum(partNumber));
    return checksumOfWhole(sums, this.#size, this.#file.size);
  }

  /**
   * @param {number} partNumber
   * @param {number} sentBytes
   * @param {number} [lane]
   */
  #tell(partNumber, sentBytes, lane) {
    this.#emit({ type: "part", partNumber, state: this.#states[partNumber], sentBytes, size: this.sizeOf(partNumber), lane });
    this.#progress();
  }

  #progress() {
    const { sentBytes, storedBytes } = this;
    this.#emit({ type: "progress", sentBytes, storedBytes, size: this.#file.size });
  }
}

// @ts-check
/**
 * CRC-64/NVME, the checksum that Amazon S3 computes by default, of pieces of a file and of what they are put together to.
 *
 * Eight bytes at a time by eight tables, with the 64-bit register kept as two 32-bit halves: BigInt would be some hundred
 * times slower, and WebAssembly would ask pages for a weaker policy. The check value, the checksum of the ASCII text
 * `123456789`, is `ae8b14860a799888`.
 */

/** 0xad93d23594c93659, its bits reversed. */
const POLYNOMIAL = 0x9a6c9329ac4bc9b5n;
const ONES = 0xffffffffffffffffn;
const NONE = new Int32Array(0);
/** Bytes that are read at once. */
const BUFFER = 1024 * 1024;
const SLICE = 4 * 1024 * 1024;
/** What the last reading has left for the next one. @type {ArrayBuffer | undefined} */
let spare;

/** Entry `256 × k + byte`: what the byte has become when it was shifted out and k more bytes followed. */
const HIGH = new Int32Array(8 * 256);
const LOW = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let register = BigInt(byte);
  for (let bit = 0; bit < 8; bit++) register = register & 1n ? (register >> 1n) ^ POLYNOMIAL : register >> 1n;
  HIGH[byte] = Number(BigInt.asIntN(32, register >> 32n));
  LOW[byte] = Number(BigInt.asIntN(32, register));
}
for (let at = 256; at < 8 * 256; at++) {
  const [high, low] = [HIGH[at - 256], LOW[at - 256]];
  LOW[at] = ((low >>> 8) | (high << 24)) ^ LOW[low & 0xff];
  HIGH[at] = (high >>> 8) ^ HIGH[low & 0xff];
}

/** A checksum in the making: bytes go in in any number of pieces, the result can be read at any time. */
export class Crc64Nvme {
  #high = -1;
  #low = -1;

  /**
   * Takes in the next bytes.
   *
   * @param {Uint8Array} bytes
   * @returns {this}
   */
  update(bytes) {
    let high = this.#high;
    let low = this.#low;
    // What is read from a file is aligned; every machine that runs browsers has the lowest byte first.
    const words = bytes.byteOffset % 4 === 0 ? new Int32Array(bytes.buffer, bytes.byteOffset, (bytes.length >> 3) * 2) : NONE;
    for (let word = 0; word < words.length; word += 2) {
      low ^= words[word];
      high ^= words[word + 1];
      const a = 1792 | (low & 255), b = 1536 | ((low >>> 8) & 255), c = 1280 | ((low >>> 16) & 255), d = 1024 | (low >>> 24);
      const e = 768 | (high & 255), f = 512 | ((high >>> 8) & 255), g = 256 | ((high >>> 16) & 255), h = high >>> 24;
      low = LOW[a] ^ LOW[b] ^ LOW[c] ^ LOW[d] ^ LOW[e] ^ LOW[f] ^ LOW[g] ^ LOW[h];
      high = HIGH[a] ^ HIGH[b] ^ HIGH[c] ^ HIGH[d] ^ HIGH[e] ^ HIGH[f] ^ HIGH[g] ^ HIGH[h];
    }
    for (let at = words.length * 4; at < bytes.length; at++) {
      const index = (low ^ bytes[at]) & 255;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index];
      high = (high >>> 8) ^ HIGH[index];
    }
    this.#high = high;
    this.#low = low;
    return this;
  }

  /**
   * The checksum of all bytes so far, as 16 lowercase hexadecimal digits.
   *
   * @returns {string}
   */
  hex() {
    return [this.#high, this.#low].map((half) => (~half >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

/**
 * The checksum of these ranges of a file, one after the other.
 *
 * @param {Blob} file
 * @param {[start: number, end: number][]} ranges
 * @returns {Promise<string>} 16 hexadecimal digits
 */
export async function sum(file, ranges) {
  const crc = new Crc64Nvme();
  for (const [start, end] of ranges) await read(file.slice(start, end), (bytes) => crc.update(bytes));
  return crc.hex();
}

/**
 * Reads a piece of a file into the same memory again and again: what is left to the garbage collector piles up, with large files
 * to hundreds of megabytes. Where browsers cannot do that they read slices, the next one while this one is taken.
 *
 * @param {Blob} blob
 * @param {(bytes: Uint8Array) => void} take
 */
async function read(blob, take) {
  const reader = readerInto(blob);
  if (!reader) return readSlices(blob, take);
  let buffer = spare ?? new ArrayBuffer(BUFFER);
  spare = undefined;
  for (;;) {
    const { value, done } = await reader.read(new Uint8Array(buffer));
    if (value) buffer = /** @type {ArrayBuffer} */ (value.buffer);
    if (done) break;
    take(value);
  }
  spare = buffer;
}

/** @param {Blob} blob */
function readerInto(blob) {
  try {
    return blob.stream().getReader({ mode: "byob" });
  } catch {
    return undefined;
  }
}

/**
 * @param {Blob} blob
 * @param {(bytes: Uint8Array) => void} take
 */
async function readSlices(blob, take) {
  const slice = (/** @type {number} */ at) => (at < blob.size ? blob.slice(at, at + SLICE).arrayBuffer() : undefined);
  let reading = slice(0);
  for (let at = SLICE; reading; at += SLICE) {
    const bytes = await reading;
    reading = slice(at);
    reading?.catch(() => {}); // it is awaited in the next turn
    take(new Uint8Array(bytes));
  }
}

/**
 * The checksum of a whole from those of its parts: CRCs are remainders of polynomials, so the sum of what comes first is
 * multiplied by x^(8 × length of what follows).
 *
 * @param {string[]} sums of each part in order, as hexadecimal digits
 * @param {number} partSize of each but the last
 * @param {number} lastSize
 * @returns {string} 16 hexadecimal digits
 */
export function combine(sums, partSize, lastSize) {
  const [shift, lastShift] = [power(partSize), power(lastSize)];
  let whole = 0n;
  sums.forEach((sum, at) => {
    whole = multiply(whole, at + 1 < sums.length ? shift : lastShift) ^ BigInt(`0x${sum}`);
  });
  return (whole & ONES).toString(16).padStart(16, "0");
}

/** x^(8 × bytes) modulo the polynomial. The highest bit is x^0. @param {number} bytes */
function power(bytes) {
  let result = 1n << 63n;
  let base = 1n << 55n; // x^8
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = multiply(result, base);
    base = multiply(base, base);
  }
  return result;
}

/**
 * The product of two polynomials modulo the polynomial.
 *
 * @param {bigint} a
 * @param {bigint} b
 */
function multiply(a, b) {
  let product = 0n;
  for (let bit = 1n << 63n; bit > 0n; bit >>= 1n) {
    if (a & bit) product ^= b;
    b = b & 1n ? (b >> 1n) ^ POLYNOMIAL : b >> 1n;
  }
  return product;
}

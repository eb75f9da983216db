// @ts-check
/**
 * CRC-64/NVME, the checksum that Amazon S3 computes by default. Table-driven, one byte at a time, with the 64-bit
 * register kept as two 32-bit halves: BigInt would be some fifty times slower.
 *
 * The check value, the checksum of the ASCII text `123456789`, is `ae8b14860a799888`.
 */

/** The polynomial 0xad93d23594c93659, its bits reversed. */
const POLYNOMIAL_HIGH = 0x9a6c9329;
const POLYNOMIAL_LOW = 0xac4bc9b5;

const tableHigh = new Uint32Array(256);
const tableLow = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let high = 0;
  let low = byte;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (carry) {
      high ^= POLYNOMIAL_HIGH;
      low ^= POLYNOMIAL_LOW;
    }
  }
  tableHigh[byte] = high;
  tableLow[byte] = low;
}

/** A checksum in the making: bytes go in in any number of pieces, the result can be read at any time. */
export class Crc64Nvme {
  #high = 0xffffffff;
  #low = 0xffffffff;

  /**
   * Takes in the next bytes.
   *
   * @param {Uint8Array} bytes
   * @returns {this}
   */
  update(bytes) {
    let high = this.#high;
    let low = this.#low;
    for (let i = 0; i < bytes.length; i++) {
      const index = (low ^ bytes[i]) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ tableLow[index];
      high = (high >>> 8) ^ tableHigh[index];
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

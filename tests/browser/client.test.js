// The parts of the browser's client that need no browser.
import assert from "node:assert/strict";
import { randomFillSync } from "node:crypto";
import { test } from "node:test";
import { Crc64Nvme } from "../../web-demo/crc64nvme.js";
import { fingerprint } from "../../web-demo/partita.js";
import { formatRanges, parseRanges } from "../../web-demo/ranges.js";
import { persist, UploadError } from "../../web-demo/transport.js";
import { MIB } from "./support/files.js";

test("CRC-64/NVME has its published check value, in one piece and in several", () => {
  const bytes = new TextEncoder().encode("123456789");
  assert.equal(new Crc64Nvme().update(bytes).hex(), "ae8b14860a799888");
  assert.equal(new Crc64Nvme().update(bytes.subarray(0, 4)).update(bytes.subarray(4)).hex(), "ae8b14860a799888");
  assert.equal(new Crc64Nvme().hex(), "0000000000000000");
});

test("a fingerprint covers the whole file up to 3 MiB, then its first, middle and last MiB", async () => {
  const bytes = randomFillSync(new Uint8Array(5 * MIB + 3));
  /**
   * @param {number} size
   * @param {...[number, number]} pieces
   */
  const of = (size, ...pieces) => {
    const crc = new Crc64Nvme();
    for (const [start, end] of pieces) crc.update(bytes.subarray(start, end));
    return `p1-${size}-${crc.hex()}`;
  };
  for (const size of [0, 1, MIB, 3 * MIB]) {
    assert.equal(await fingerprint(new Blob([bytes.subarray(0, size)])), of(size, [0, size]));
  }
  for (const size of [3 * MIB + 1, 5 * MIB, 5 * MIB + 3]) {
    const middle = Math.floor((size - MIB) / 2);
    const expected = of(size, [0, MIB], [middle, middle + MIB], [size - MIB, size]);
    assert.equal(await fingerprint(new Blob([bytes.subarray(0, size)])), expected);
  }
});

test("ranges of parts are read and written", () => {
  /** @type {[string, number[]][]} */
  const lists = [["", []], ["7", [7]], ["1-3", [1, 2, 3]], ["1-2,4,9999-10000", [1, 2, 4, 9999, 10000]]];
  for (const [text, numbers] of lists) {
    assert.deepEqual(parseRanges(text), numbers);
    assert.equal(formatRanges(numbers), text);
  }
  assert.deepEqual(parseRanges(undefined), []);
});

test("what fails in passing is tried again until it succeeds, with random and growing pauses", async () => {
  /** @type {number[]} */
  const pauses = [];
  let tries = 0;
  const answer = await persist(
    async () => {
      if (++tries < 5) throw new UploadError("storage-busy", "", { retryable: true, retryAfterMs: tries === 2 ? 60 : undefined });
      return "done";
    },
    { onRetry: (error, delay) => pauses.push(delay), wake: () => AbortSignal.abort() },
  );
  assert.equal(answer, "done");
  assert.equal(pauses.length, 4);
  for (const [attempt, pause] of pauses.entries()) assert.ok(pause <= 60 + 500 * 2 ** attempt);
  assert.ok(pauses[1] >= 60, "Retry-After is honoured");
});

test("what cannot succeed is not tried again", async () => {
  let tries = 0;
  const step = async () => {
    tries++;
    throw new UploadError("file-too-large", "");
  };
  await assert.rejects(persist(step), { code: "file-too-large" });
  assert.equal(tries, 1);
});

// The parts of the client that need no browser.
import assert from "node:assert/strict";
import { randomFillSync } from "node:crypto";
import { test } from "node:test";
import { checksumOfWhole, fingerprint } from "../../web-demo/client/checksum.js";
import { Connections } from "../../web-demo/client/connections.js";
import { combine, Crc64Nvme, sum } from "../../web-demo/client/crc64.js";
import { UploadError } from "../../web-demo/client/errors.js";
import { Events } from "../../web-demo/client/events.js";
import { formatRanges, parseRanges } from "../../web-demo/client/ranges.js";
import { Gate } from "../../web-demo/client/gate.js";
import { parseRetryAfter, persist, sleep } from "../../web-demo/client/retry.js";
import { sendParts } from "../../web-demo/client/sending.js";
import { Signer } from "../../web-demo/client/signer.js";
import { MIB } from "./support/files.js";

test("CRC-64/NVME has its published check value, in one piece and in several", () => {
  const bytes = new TextEncoder().encode("123456789");
  assert.equal(new Crc64Nvme().update(bytes).hex(), "ae8b14860a799888");
  assert.equal(new Crc64Nvme().update(bytes.subarray(0, 4)).update(bytes.subarray(4)).hex(), "ae8b14860a799888");
  assert.equal(new Crc64Nvme().hex(), "0000000000000000");
});

test("CRC-64/NVME is the same whether eight bytes are taken at a time or one, wherever they lie in memory", () => {
  const bytes = randomFillSync(new Uint8Array(1000));
  for (const size of [0, 7, 8, 9, 64, 993]) {
    const oneByOne = new Crc64Nvme();
    for (let at = 0; at < size; at++) oneByOne.update(bytes.slice(at, at + 1));
    assert.equal(new Crc64Nvme().update(bytes.slice(0, size)).hex(), oneByOne.hex(), `${size} bytes`);
    const shifted = new Uint8Array([0, ...bytes.subarray(0, size)]).subarray(1);
    assert.equal(new Crc64Nvme().update(shifted).hex(), oneByOne.hex(), `${size} bytes, not aligned`);
  }
});

test("the checksum of a file is the same where a browser cannot read into memory that it is given", async (t) => {
  const bytes = randomFillSync(new Uint8Array(9 * MIB + 5));
  const expected = new Crc64Nvme().update(bytes).hex();
  const file = new Blob([bytes]);
  assert.equal(await sum(file, [[0, file.size]]), expected);
  t.mock.method(Blob.prototype, "stream", () => new ReadableStream());
  assert.equal(await sum(file, [[0, 3], [3, 5 * MIB], [5 * MIB, file.size]]), expected);
});

test("the checksum of a file is put together from those of its parts", async () => {
  const bytes = randomFillSync(new Uint8Array(9 * MIB + 5));
  const file = new Blob([bytes]);
  const whole = new Crc64Nvme().update(bytes).hex();
  for (const partSize of [MIB, 5 * MIB - 3, 9 * MIB + 5]) {
    const sums = [];
    for (let at = 0; at < bytes.length; at += partSize) sums.push(await sum(file, [[at, Math.min(at + partSize, bytes.length)]]));
    assert.equal(combine(sums, partSize, bytes.length - (sums.length - 1) * partSize), whole);
    assert.equal(await checksumOfWhole(sums, partSize, bytes.length), Buffer.from(whole, "hex").toString("base64"));
  }
  assert.equal(combine([], MIB, 0), "0000000000000000", "an empty file");
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
  assert.equal(new Set(pauses).size, 4, "jitter");
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

test("Retry-After is read as seconds or as a date, and never believed beyond a minute", () => {
  assert.equal(parseRetryAfter("7"), 7000);
  assert.equal(parseRetryAfter("86400"), 60_000);
  assert.equal(parseRetryAfter(new Date(Date.now() - 5000).toUTCString()), 0);
  const soon = parseRetryAfter(new Date(Date.now() + 30_000).toUTCString()) ?? 0;
  assert.ok(soon > 28_000 && soon <= 30_000);
  for (const nothing of [null, undefined, "", "soon"]) assert.equal(parseRetryAfter(nothing), undefined);
});

/**
 * A host for which every part is one megabyte: how many connections it is given in the end.
 *
 * @param {(connections: number) => number} rate bytes per millisecond over all of them
 */
async function settledOn(rate) {
  let now = 0;
  const connections = new Connections(6, () => now);
  const { signal } = new AbortController();
  /** @type {{ lane: number, left: number }[]} */
  const parts = [];
  const begin = () => connections.take(signal).then((lane) => parts.push({ lane: lane ?? 0, left: 1e6 }));
  for (let queued = 0; queued < 12; queued++) begin();
  const limits = [];
  for (let step = 0; step < 4000; step++) {
    await null;
    now += 25;
    const each = (rate(parts.length) * 25) / parts.length;
    for (const part of [...parts]) {
      part.left -= each;
      if (part.left > 0) continue;
      parts.splice(parts.indexOf(part), 1);
      connections.free(part.lane, 1e6);
      begin();
    }
    limits.push(connections.limit);
  }
  return limits.slice(-1000);
}

test("connections to a host grow up to six while that pays, and no further", async () => {
  const paying = await settledOn((connections) => connections * 1000);
  assert.equal(Math.min(...paying), 6);
  const narrow = await settledOn((connections) => Math.min(connections, 2) * 1000);
  const average = narrow.reduce((total, limit) => total + limit) / narrow.length;
  assert.ok(average < 4, `a line that two connections fill is given ${average}`);
  assert.ok(Math.max(...narrow) <= 5);
});

test("a busy host is given half as many connections, and never none", async () => {
  const connections = new Connections(6);
  const lanes = [];
  for (let taken = 0; taken < 3; taken++) lanes.push(await connections.take(new AbortController().signal));
  assert.deepEqual(lanes, [0, 1, 2]);
  connections.slower();
  assert.equal(connections.limit, 1);
  connections.slower();
  assert.equal(connections.limit, 1);

  let granted = false;
  connections.take(new AbortController().signal).then(() => (granted = true));
  connections.free(0);
  connections.free(1);
  await null;
  assert.equal(granted, false, "one is still under way");
  connections.free(2);
  await new Promise(setImmediate);
  assert.equal(granted, true);
});

test("who stops waiting for a connection takes none", async () => {
  const connections = new Connections(1);
  await connections.take(new AbortController().signal);
  const gone = new AbortController();
  const waiting = connections.take(gone.signal);
  const next = connections.take(new AbortController().signal);
  gone.abort();
  assert.equal(await waiting, undefined);
  connections.free(0);
  assert.equal(await next, 0);
});

test("a signed URL is taken for expired by either clock: after a sleep, and after the clock was set", async (t) => {
  let signed = 0;
  const signer = new Signer(async (parts) => {
    signed++;
    return parts.map((partNumber) => ({ partNumber, method: "PUT", url: "", headers: {}, offset: 0, size: 1, expiresInSeconds: 900 }));
  });
  const { now } = Date;
  t.after(() => (Date.now = now));
  await signer.first([1]);
  await signer.first([1]);
  assert.equal(signed, 1);
  Date.now = () => now() - 3600_000;
  await signer.first([1]);
  assert.equal(signed, 1, "set back: the URL is as old as it is");
  Date.now = () => now() + 3600_000;
  await signer.first([1]);
  assert.equal(signed, 2, "an hour has passed, or seems to have");
});

test("a refused part that comes back while the next one is signed is not taken for that one", async () => {
  /** @type {number[]} */
  const tried = [];
  const sending = /** @type {any} */ ({
    parts: { set() {}, sent() {}, bytesOf: () => new Blob(["x"]) },
    gate: new Gate(() => {}, () => {}),
    signer: {
      has: () => true,
      forget() {},
      first: async (/** @type {number[]} */ [partNumber]) => {
        await sleep(20); // asked twice for each part
        return { partNumber, size: 1, url: "https://s3.example.com" };
      },
    },
    async send(/** @type {{ partNumber: number }} */ { partNumber }) {
      tried.push(partNumber);
      await sleep(30);
      if (partNumber === 1 && tried.indexOf(1) === tried.lastIndexOf(1)) throw new UploadError("url-refused", "");
      return "etag";
    },
    most: 6, stallMs: 1000, begun() {}, stored() {}, onRetry() {},
  });
  await sendParts(sending, [1, 2, 3]);
  assert.deepEqual(tried.sort(), [1, 1, 2, 3]);
});

test("who reads events slowly gets the latest of each part, and all else in order", async () => {
  const events = new Events();
  const reader = events.read([{ type: "state", state: "preparing" }]);
  events.emit({ type: "state", state: "sending" });
  for (let sentBytes = 0; sentBytes < 100; sentBytes++) {
    events.emit({ type: "part", partNumber: 1, state: "sending", sentBytes, size: 100 });
    events.emit({ type: "progress", sentBytes, storedBytes: 0, size: 100 });
  }
  events.emit({ type: "state", state: "completing" });
  events.end();
  const read = [];
  for await (const event of reader) read.push(event);
  assert.deepEqual(read, [
    { type: "state", state: "preparing" },
    { type: "state", state: "sending" },
    { type: "part", partNumber: 1, state: "sending", sentBytes: 99, size: 100 },
    { type: "progress", sentBytes: 99, storedBytes: 0, size: 100 },
    { type: "state", state: "completing" },
  ]);
});

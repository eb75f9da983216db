// What a page asked of the service and of S3, and what is promised of that; however it is seen.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * A request of the page.
 *
 * @typedef {object} SeenRequest
 * @property {string} method
 * @property {URL} url
 * @property {string} path
 * @property {number} [partNumber]
 * @property {number} startedAt
 * @property {number} [endedAt]
 * @property {number} [status]
 * @property {number} bodySize
 * @property {Promise<Record<string, string>>} [headers] where the browser tells
 */
/** @typedef {SeenRequest & { partNumber: number }} PartRequest */

export class Traffic {
  /** Every request, in order. @type {SeenRequest[]} */
  requests = [];

  /** @param {import("./service.js").Service} service */
  constructor(service) {
    this.service = service;
  }

  /** The `PUT`s of parts. */
  get puts() {
    /** @type {(each: SeenRequest) => each is PartRequest} */
    const isPut = (each) => each.method === "PUT" && each.partNumber !== undefined;
    return this.requests.filter(isPut);
  }

  /**
   * The calls to the API whose path ends so.
   *
   * @param {string} method
   * @param {string} ending
   */
  calls(method, ending) {
    return this.requests.filter((each) => each.method === method && each.url.origin === this.service.url && each.path.endsWith(ending));
  }

  /**
   * Waits until S3 has answered 200 for so many parts.
   *
   * @param {number} count
   */
  async untilStored(count) {
    const deadline = Date.now() + 60_000;
    while (this.storedParts().size < count) {
      assert.ok(Date.now() < deadline, `only ${this.storedParts().size} parts stored`);
      await sleep(20);
    }
  }

  /** How often S3 answered 200, by part number. */
  storedParts() {
    /** @type {Map<number, number>} */
    const counts = new Map();
    for (const { partNumber, status } of this.puts) {
      if (status === 200) counts.set(partNumber, (counts.get(partNumber) ?? 0) + 1);
    }
    return counts;
  }

  /** @param {number} partCount */
  async assertEachPartStoredOnce(partCount) {
    await this.untilStored(partCount); // the news may come a little later than to the page
    const stored = this.storedParts();
    assert.deepEqual([...stored.keys()].sort((a, b) => a - b), Array.from({ length: partCount }, (_, index) => index + 1));
    assert.deepEqual([...stored].filter(([, count]) => count !== 1), [], "parts that S3 acknowledged more than once");
  }

  /** What S3 has acknowledged stays acknowledged. What it stored just when the line was cut has no answer to count. */
  assertNothingSentAgain() {
    /** When S3 acknowledged each part. @type {Map<number, number>} */
    const stored = new Map();
    for (const { partNumber, startedAt, endedAt, status } of this.puts) {
      assert.ok(!((stored.get(partNumber) ?? Infinity) < startedAt), `part ${partNumber} was sent again after S3 had acknowledged it`);
      if (status === 200) stored.set(partNumber, endedAt ?? Infinity);
    }
    assert.deepEqual([...this.storedParts()].filter(([, count]) => count !== 1), [], "parts that S3 acknowledged more than once");
  }

  /** The largest number of parts that were under way at the same moment. */
  get mostAtOnce() {
    /** @type {[number, number][]} */
    const moments = this.puts.flatMap(({ startedAt, endedAt = Infinity }) => [[startedAt, 1], [endedAt, -1]]);
    moments.sort(([a, up], [b, down]) => a - b || up - down);
    let now = 0;
    return Math.max(...moments.map(([, change]) => (now += change)));
  }
}

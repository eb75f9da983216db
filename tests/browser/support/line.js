import http from "node:http";
import { Transform } from "node:stream";
import { Pace } from "./pace.js";
import { listen, passOn } from "./sites.js";
import { Traffic } from "./traffic.js";

/** @typedef {(request: http.IncomingMessage, response: http.ServerResponse) => void} Answer */

/**
 * The line between a browser and everything: an HTTP proxy, which sees what goes over it, holds it back, and can break it.
 * It serves browsers whose network cannot be controlled from outside, and sees the same when one is killed.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("./service.js").Service} service
 */
export async function startLine(t, service) {
  const line = new Line(service);
  const server = http.createServer((request, response) => line.take(request, response));
  return Object.assign(line, { port: await listen(t, server, "127.0.0.1") });
}

export class Line extends Traffic {
  #pace = new Pace(Infinity);
  /** @type {Map<number, Answer>} */
  #failures = new Map();

  /**
   * Limits what goes to S3, so that there is a half-way.
   *
   * @param {number} bytesPerSecond
   */
  limitUpload(bytesPerSecond) {
    this.#pace = new Pace(bytesPerSecond);
  }

  /**
   * Does this to the next `PUT` of that part, instead of passing it on.
   *
   * @param {number} partNumber
   * @param {Answer} answer
   */
  failOnce(partNumber, answer) {
    this.#failures.set(partNumber, answer);
  }

  /**
   * @param {http.IncomingMessage} request
   * @param {http.ServerResponse} response
   */
  take(request, response) {
    const { method = "" } = request;
    const url = new URL(request.url ?? "");
    const partNumber = url.origin === this.service.s3Url ? Number(url.searchParams.get("partNumber")) : undefined;
    /** @type {import("./traffic.js").SeenRequest} */
    const entry = { method, url, path: url.pathname, partNumber, startedAt: Date.now(), bodySize: Number(request.headers["content-length"] ?? 0) };
    this.requests.push(entry);
    response.once("close", () => {
      entry.endedAt = Date.now();
      // What the browser was not told it does not know.
      if (response.writableFinished) entry.status = response.statusCode;
    });
    const isPart = method === "PUT" && partNumber !== undefined;
    const fail = isPart && this.#failures.get(partNumber);
    if (!fail) return passOn(request, response, { hostname: url.hostname, port: url.port, path: url.pathname + url.search }, isPart ? this.#brake() : undefined);
    this.#failures.delete(partNumber);
    fail(request, response);
  }

  /** All parts together are no faster than the line. */
  #brake() {
    return new Transform({
      transform: async (chunk, _, done) => {
        await this.#pace.pass(chunk.length);
        done(null, chunk);
      },
    });
  }
}

// @ts-check
import { once } from "node:events";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Pace } from "../../tests/browser/support/pace.js";

/** @typedef {{ bytesPerSecond: number, bytesPerSecondOfEach: number, rttMs: number }} Network */
/** What passes; `number` counts those of its method from 1. @typedef {{ method: string, size: number, number: number }} Passing */
/**
 * What happens to a request: its connection is cut when so much of the body has passed; it is answered 403, as S3 answers a
 * URL that has expired; or one byte of it is changed on the way.
 *
 * @typedef {{ cutAfter: number } | { expired: true } | { flipAt: number }} Fault
 */

/**
 * The way from the browser to one server: an HTTP/1.1 proxy with a rate for each connection, one for all of them, and a
 * round-trip time, which is waited for with each request, and once more for each new connection.
 */
export class Line {
  /** Bytes of bodies that passed to the server. A part cut half-way counts with its half. */
  bytes = 0;
  /** By method. Preflights are `OPTIONS`. @type {Record<string, number>} */
  requests = {};
  /** How many requests met a fault. */
  faults = 0;
  /** Which request meets what. @type {(passing: Passing) => Fault | undefined} */
  faultOf = () => undefined;

  #network;
  #target;
  #all;
  #isDown = false;
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();
  /** @type {WeakMap<import("node:net").Socket, Pace>} */
  #paces = new WeakMap();
  #agent = new http.Agent({ keepAlive: true });
  #server;

  /**
   * @param {number} target port on this machine
   * @param {Network} network
   */
  constructor(target, network) {
    this.#target = target;
    this.#network = network;
    this.#all = new Pace(network.bytesPerSecond);
    this.#server = http.createServer((request, response) => {
      this.#pass(request, response).catch(() => request.socket.resetAndDestroy());
    });
    this.#server.on("connection", (socket) => {
      if (this.#isDown) return socket.resetAndDestroy();
      this.#sockets.add(socket);
      socket.on("error", () => {}); // cut: that is what it is for
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** @returns {Promise<number>} its port */
  async open() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return /** @type {import("node:net").AddressInfo} */ (this.#server.address()).port;
  }

  close() {
    this.#cut();
    this.#agent.destroy();
    this.#server.close();
  }

  /** Counts from nothing, without faults, over this network. @param {Network} network */
  reset(network) {
    this.#network = network;
    this.#all = new Pace(network.bytesPerSecond);
    this.#paces = new WeakMap();
    this.#isDown = false;
    this.bytes = this.faults = 0;
    this.requests = {};
    this.faultOf = () => undefined;
  }

  /** Cuts every connection, and refuses new ones, until `up`. */
  down() {
    this.#isDown = true;
    this.#cut();
  }

  up() {
    this.#isDown = false;
  }

  #cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /**
   * @param {http.IncomingMessage} request
   * @param {http.ServerResponse} response
   */
  async #pass(request, response) {
    const { method = "", url: path = "/", headers, socket } = request;
    const isNew = !this.#paces.has(socket);
    const pace = this.#paces.get(socket) ?? new Pace(this.#network.bytesPerSecondOfEach);
    this.#paces.set(socket, pace);
    await sleep(this.#network.rttMs * (isNew ? 2 : 1));
    const number = (this.requests[method] = (this.requests[method] ?? 0) + 1);
    const fault = this.faultOf({ method, size: Number(headers["content-length"] ?? 0), number });
    if (fault) this.faults++;
    if (fault && "expired" in fault) {
      for await (const chunk of request) await this.#through(pace, chunk.length);
      const cors = { "Access-Control-Allow-Origin": headers.origin ?? "*", "Access-Control-Allow-Credentials": "true" };
      response.writeHead(403, { "Content-Type": "application/xml", ...cors }).end(EXPIRED);
      return;
    }

    // With the very same headers, Host included: it is signed.
    const onward = http.request({ port: this.#target, host: "127.0.0.1", method, path, headers, agent: this.#agent });
    onward.on("error", () => socket.resetAndDestroy());
    // Also when the browser gives the request up.
    response.once("close", () => onward.destroy());
    onward.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on("error", () => socket.resetAndDestroy());
      answer.pipe(response);
    });
    let passed = 0;
    for await (const chunk of request) {
      if (fault && "cutAfter" in fault && passed + chunk.length > fault.cutAfter) return socket.resetAndDestroy();
      const flipAt = fault && "flipAt" in fault ? fault.flipAt - passed : -1;
      if (flipAt >= 0 && flipAt < chunk.length) chunk[flipAt] ^= 1;
      await this.#through(pace, chunk.length);
      passed += chunk.length;
      if (!onward.write(chunk)) await once(onward, "drain");
    }
    onward.end();
  }

  /**
   * @param {Pace} pace
   * @param {number} bytes
   */
  async #through(pace, bytes) {
    await Promise.all([pace.pass(bytes), this.#all.pass(bytes)]);
    this.bytes += bytes;
  }
}

const EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";

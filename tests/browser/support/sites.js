import http from "node:http";
import net from "node:net";
import { PassThrough, pipeline } from "node:stream";

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {{ method: string, path: string }} Asked */

/**
 * A web site of somebody else, which answers every request with what `answer` makes of it.
 *
 * @param {TestContext} t
 * @param {(path: string) => { type: string, body: string | Buffer } | Promise<{ type: string, body: string | Buffer }>} answer
 */
export async function startSite(t, answer) {
  /** @type {Asked[]} */
  const asked = [];
  const server = http.createServer(async (request, response) => {
    const path = request.url ?? "/";
    asked.push({ method: request.method ?? "", path });
    const { type, body } = await answer(path);
    response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
  });
  return { port: await listen(t, server, "127.0.0.1"), asked };
}

/**
 * An HTTP proxy in front of a server, by which the server is seen under another port: what it is asked for.
 *
 * @param {TestContext} t
 * @param {string} target
 */
export async function startCounter(t, target) {
  /** @type {Asked[]} */
  const asked = [];
  const { hostname, port } = new URL(target);
  const server = http.createServer((request, response) => {
    asked.push({ method: request.method ?? "", path: request.url ?? "/" });
    passOn(request, response, { hostname, port, path: request.url });
  });
  return { url: `http://127.0.0.1:${await listen(t, server, "127.0.0.1")}`, asked };
}

/**
 * Passes a request on with the very same headers, Host included (it is signed), and its answer back.
 *
 * @param {http.IncomingMessage} request
 * @param {http.ServerResponse} response
 * @param {http.RequestOptions} target
 * @param {import("node:stream").Duplex} [through] by which the request's bytes go
 */
export function passOn(request, response, target, through = new PassThrough()) {
  // What is said of this connection is not said of the next one.
  const { connection, "proxy-connection": _, ...headers } = request.headers;
  const onward = http.request({ method: request.method, headers, agent: false, ...target }, (answer) => {
    const { connection, "keep-alive": _, ...headers } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, headers);
    pipeline(answer, response, () => {});
  });
  // Whoever goes away in the middle takes the other side along.
  pipeline(request, through, onward, (error) => error && response.destroy());
  onward.on("error", () => response.destroy());
}

/**
 * A name whose address changes (DNS rebinding), on the same port of another address of this machine: at first a web site
 * answers, and after `rebind` whoever listens on `port` of 127.0.0.1. The browser's bytes go there unchanged.
 *
 * @param {TestContext} t
 * @param {{ address: string, port: number, html: string }} options
 */
export async function startRebinding(t, { address, port, html }) {
  let rebound = false;
  const site = http.createServer((_, response) => {
    // The connection is not kept: one that is open already would stay with the site.
    response.writeHead(200, { "Content-Type": "text/html", Connection: "close" }).end(html);
  });
  const server = net.createServer((socket) => {
    if (!rebound) return site.emit("connection", socket);
    const onward = net.connect(port, "127.0.0.1");
    socket.pipe(onward).pipe(socket);
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
  });
  await listen(t, server, address, port);
  return { rebind: () => (rebound = true) };
}

/**
 * @param {TestContext} t
 * @param {net.Server} server
 * @param {string} address
 */
export async function listen(t, server, address, port = 0) {
  await /** @type {Promise<void>} */ (new Promise((resolve, reject) => server.once("error", reject).listen(port, address, resolve)));
  t.after(() => {
    if (server instanceof http.Server) server.closeAllConnections();
    server.close();
  });
  return /** @type {net.AddressInfo} */ (server.address()).port;
}

// Who coordinates: Partita, and Companion, over the same bucket of the same S3; and the one origin from which both pages come.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { build } from "esbuild";

const HERE = import.meta.dirname;
export const KEYS = { accessKeyId: "bench-access-key", secretAccessKey: "bench-secret-key-0123456789" };
export const BUCKET = "partita";
export const REGION = "us-east-1";

/** Nobody outlives the comparison. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** A process that can be killed and started again. */
class Program {
  #child;
  constructor(command, args, env, isReady) {
    Object.assign(this, { command, args, env, isReady });
  }
  async start() {
    this.#child = spawn(this.command, this.args, { env: { PATH: process.env.PATH, HOME: process.env.HOME, ...this.env }, stdio: "ignore" });
    const child = this.#child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    for (let tries = 0; !(await this.isReady().catch(() => false)); tries++) {
      if (tries > 300 || this.#child.exitCode !== null) throw new Error(`${this.command} ${this.args} does not start`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  async kill() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}

const answers = (url) => async () => (await fetch(url)).status < 500;
const quiet = { PARTITA_LOG: "error" };

/** An S3 on the disk: the embedded one of a Partita that does nothing else. */
export async function store(folder) {
  const [port, listen] = [await freePort(), `127.0.0.1:${await freePort()}`];
  const url = `http://127.0.0.1:${port}`;
  const program = new Program(process.env.PARTITA_BIN, ["serve"], {
    ...quiet,
    PARTITA_DATA_DIR: path.join(folder, "store"),
    PARTITA_LISTEN: listen,
    PARTITA_EMBEDDED_S3_LISTEN: `127.0.0.1:${port}`,
    PARTITA_EMBEDDED_S3_ACCESS_KEY: KEYS.accessKeyId,
    PARTITA_EMBEDDED_S3_SECRET_KEY: KEYS.secretAccessKey,
  }, answers(`http://${listen}/readyz`));
  await program.start();
  return { url, stop: () => program.kill() };
}

/** Partita as a coordinator of that S3, reached by browsers at `s3`. */
export async function partita(folder, { direct, s3, life }) {
  const listen = `127.0.0.1:${await freePort()}`;
  const program = new Program(process.env.PARTITA_BIN, ["serve"], {
    ...quiet,
    PARTITA_DATA_DIR: await mkdtemp(path.join(folder, "partita-")),
    PARTITA_LISTEN: listen,
    PARTITA_INSECURE_NO_AUTH: "true",
    PARTITA_WEB_DEMO: "true",
    PARTITA_DATABASE_URL: `sqlite://${path.join(await mkdtemp(path.join(folder, "db-")), "partita.db")}`,
    PARTITA_S3_ENDPOINT: direct,
    PARTITA_S3_PUBLIC_ENDPOINT: s3,
    PARTITA_S3_BUCKET: BUCKET,
    PARTITA_S3_REGION: REGION,
    PARTITA_S3_PATH_STYLE: "true",
    AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
    ...(life ? { PARTITA_PART_URL_TTL: `${life}s` } : {}),
  }, answers(`http://${listen}/readyz`));
  await program.start();
  return { url: `http://${listen}`, program };
}

/** Companion as a coordinator of the same. */
export async function companion({ s3, life }) {
  const port = await freePort();
  const program = new Program(process.execPath, [path.join(HERE, "companion.mjs")], {
    NODE_ENV: "production", PORT: String(port), S3: s3, LIFE: String(life ?? 800), BUCKET, REGION, KEY: KEYS.accessKeyId, SECRET: KEYS.secretAccessKey,
  }, answers(`http://127.0.0.1:${port}/`));
  await program.start();
  return { url: `http://127.0.0.1:${port}`, program };
}

/** Both pages, and both coordinators behind them, which sees every call. */
export async function front({ partita, companion }) {
  const { outputFiles: [uppy] } = await build({
    entryPoints: [path.join(HERE, "pages/uppy.mjs")], bundle: true, format: "esm", write: false, minify: true, logLevel: "error",
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const { outputFiles: [ours] } = await build({
    entryPoints: [path.join(HERE, "pages/partita.mjs")], bundle: true, format: "esm", write: false, external: ["/client/*"], logLevel: "error",
  });
  const seen = { calls: 0, isDown: false };
  const page = (script) => `<!doctype html><meta charset="utf-8"><title>side by side</title><input type="file" id="file"><script type="module" src="${script}"></script>`;
  const own = {
    "/partita": [page("/partita.js"), "text/html"],
    "/uppy": [page("/uppy.js"), "text/html"],
    "/partita.js": [ours.text, "text/javascript"],
    "/uppy.js": [uppy.text, "text/javascript"],
  };
  const server = http.createServer((request, response) => {
    if (own[request.url]) {
      response.writeHead(200, { "content-type": own[request.url][1] });
      return response.end(own[request.url][0]);
    }
    const isCompanion = request.url.startsWith("/companion/");
    if (isCompanion || request.url.startsWith("/v1/")) {
      seen.calls++;
      if (seen.isDown) return request.socket.destroy();
    }
    const { hostname, port } = new URL(isCompanion ? companion.url : partita.url);
    const { origin, ...headers } = { ...request.headers, host: `${hostname}:${port}` };
    const onwards = http.request({ hostname, port, method: request.method, path: request.url.replace(/^\/companion/, ""), headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    const { socket } = request;
    onwards.on("error", () => socket.destroy());
    request.pipe(onwards);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(seen, {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  });
}

export const removed = (folder) => rm(folder, { recursive: true, force: true, maxRetries: 5 });

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

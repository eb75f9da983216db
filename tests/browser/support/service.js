import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { required } from "./environment.js";
import { freePort } from "./ports.js";
import { createBucket } from "./s3.js";

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {import("../../../web-demo/client/index.js").UploadResource} UploadResource */
/** What the tests read of an upload. @typedef {UploadResource & { contentType: string, object?: { size: number } }} Upload */

/** The two ways in which the service is run here, by the names that tests carry. */
export const SETUPS = {
  "embedded S3 and SQLite": startZeroSetup,
  "SeaweedFS and PostgreSQL": startOnSeaweedFS,
};

/**
 * The binary as it comes: embedded S3, SQLite.
 *
 * @param {TestContext} t
 * @param {Record<string, string>} [settings]
 */
export async function startZeroSetup(t, settings = {}) {
  const dataDir = await mkdtemp(path.join(tmpdir(), "partita-browser-"));
  const s3Listen = `127.0.0.1:${await freePort()}`;
  const service = new Service(`127.0.0.1:${await freePort()}`, `http://${s3Listen}`, {
    PARTITA_DATA_DIR: dataDir,
    PARTITA_EMBEDDED_S3_LISTEN: s3Listen,
    ...settings,
  });
  t.after(async () => {
    await service.end();
    await rm(dataDir, { recursive: true, force: true });
  });
  await service.start();
  return service;
}

/**
 * As in production: an S3 beside it, PostgreSQL, with a bucket and a database of its own.
 *
 * @param {TestContext} t
 * @param {Record<string, string>} [settings]
 * @param {{ exposeHeaders?: string[] }} [cors]
 */
export async function startOnSeaweedFS(t, settings = {}, { exposeHeaders = ["ETag"] } = {}) {
  const store = {
    endpoint: required("PARTITA_TEST_SEAWEEDFS"),
    region: "us-east-1",
    accessKey: required("PARTITA_TEST_SEAWEEDFS_ACCESS_KEY"),
    secretKey: required("PARTITA_TEST_SEAWEEDFS_SECRET_KEY"),
  };
  const name = `browser-${randomBytes(6).toString("hex")}`;
  const listen = `127.0.0.1:${await freePort()}`;
  const database = await createDatabase(t, name);
  await createBucket(store, name, { origin: `http://${listen}`, exposeHeaders });
  const dataDir = await mkdtemp(path.join(tmpdir(), "partita-browser-"));
  const service = new Service(listen, new URL(store.endpoint).origin, {
    PARTITA_DATA_DIR: dataDir,
    PARTITA_DATABASE_URL: database,
    PARTITA_S3_BUCKET: name,
    PARTITA_INSECURE_NO_AUTH: "true",
    PARTITA_S3_ENDPOINT: store.endpoint,
    PARTITA_S3_REGION: store.region,
    PARTITA_S3_PATH_STYLE: "true",
    PARTITA_S3_STORE: "seaweedfs",
    AWS_ACCESS_KEY_ID: store.accessKey,
    AWS_SECRET_ACCESS_KEY: store.secretKey,
    PARTITA_WEB_DEMO: "true",
    ...settings,
  });
  t.after(async () => {
    await service.end();
    await rm(dataDir, { recursive: true, force: true });
  });
  await service.run("migrate");
  await service.start();
  return service;
}

/**
 * @param {TestContext} t
 * @param {string} name
 */
async function createDatabase(t, name) {
  const server = required("PARTITA_TEST_POSTGRES");
  /** @param {string} sql */
  const query = async (sql) => {
    const client = new pg.Client({ connectionString: server });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  await query(`CREATE DATABASE "${name}"`);
  t.after(() => query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** One process of the binary, which can be killed and started again at the same place. */
export class Service {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;
  #environment;
  #log = "";

  /**
   * @param {string} listen
   * @param {string} s3Url
   * @param {Record<string, string>} settings
   */
  constructor(listen, s3Url, settings) {
    this.url = `http://${listen}`;
    this.s3Url = s3Url;
    this.#environment = { PATH: process.env.PATH, HOME: process.env.HOME, PARTITA_LISTEN: listen, ...settings };
  }

  /** Starts it and waits until it is ready. */
  async start() {
    const child = spawn(required("PARTITA_BIN"), ["serve"], { env: this.#environment, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (this.#log += text));
    for (let tries = 0; tries < 150; tries++) {
      assert.equal(child.exitCode, null, `the service ended by itself:\n${this.#log}`);
      const ready = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(1000) }).catch(() => undefined);
      if (ready?.ok) return;
      await sleep(100);
    }
    assert.fail(`the service did not become ready:\n${this.#log}`);
  }

  /** SIGKILL: no farewell, no flush. */
  async kill() {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exit;
  }

  /** Kills it at the end of a test, in which it must not have fallen over by itself. */
  async end() {
    const fell = this.#process && (this.#process.exitCode ?? this.#process.signalCode) !== null;
    await this.kill();
    assert.ok(!fell, `the service ended by itself:\n${this.#log}`);
  }

  /**
   * Runs one of the binary's other commands to its end, and answers what it prints.
   *
   * @param {...string} words
   */
  async run(...words) {
    return (await promisify(execFile)(required("PARTITA_BIN"), words, { env: this.#environment })).stdout;
  }

  /**
   * A call to the API, beside the page.
   *
   * @overload
   * @param {`/v1/uploads/${string}`} path
   * @returns {Promise<Upload>}
   *
   * @overload
   * @param {`/v1/uploads?${string}`} path
   * @returns {Promise<{ items: Upload[] }>}
   *
   * @overload
   * @param {`/v1/files?${string}`} path
   * @returns {Promise<{ items: { id: string, sharedWith: string[] }[] }>}
   *
   * @overload
   * @param {`/v1/files/${string}/download-url?${string}`} path
   * @returns {Promise<{ url: string }>}
   *
   * @param {string} path
   * @returns {Promise<unknown>}
   */
  async get(path) {
    const response = await fetch(this.url + path);
    assert.equal(response.status, 200, path);
    return response.json();
  }
}

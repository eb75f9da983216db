// @ts-check
import path from "node:path";
import { freePort } from "../../tests/browser/support/ports.js";
import { Child } from "./child.js";

const KEYS = { accessKeyId: "side-by-side", secretAccessKey: "side-by-side-secret" };
const BUCKET = "partita";
const REGION = "us-east-1";

/**
 * The one S3, and how to reach it.
 *
 * @typedef {{ child: Child, port: number, url: string, bucket: string, region: string, keys: typeof KEYS }} Store
 */
/** What both coordinators are told. @typedef {{ urlLifeSeconds: number }} Told */
/** @typedef {{ port: number, url: string, start: (told: Told) => Promise<void>, kill: () => Promise<void> }} Coordinator */

const bin = () => {
  const { PARTITA_BIN } = process.env;
  if (!PARTITA_BIN) throw new Error("PARTITA_BIN is not set");
  return PARTITA_BIN;
};

/**
 * The embedded S3, in a process of its own, so that killing a coordinator leaves it alone.
 *
 * @param {string} folder
 * @param {string} origin of the pages
 * @returns {Promise<Store>}
 */
export async function startStore(folder, origin) {
  const [port, idle] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const child = new Child([bin(), "serve"], url);
  await child.start({
    PARTITA_LISTEN: `127.0.0.1:${idle}`,
    PARTITA_DATA_DIR: path.join(folder, "s3"),
    PARTITA_EMBEDDED_S3_LISTEN: `127.0.0.1:${port}`,
    PARTITA_EMBEDDED_S3_ACCESS_KEY: KEYS.accessKeyId,
    PARTITA_EMBEDDED_S3_SECRET_KEY: KEYS.secretAccessKey,
    PARTITA_ALLOWED_ORIGINS: origin,
  });
  return { child, port, url, bucket: BUCKET, region: REGION, keys: KEYS };
}

/**
 * @param {string} folder
 * @param {string} origin
 * @param {Store} store
 * @param {string} prefix of the keys
 */
export function partita(folder, origin, store, prefix) {
  return coordinator([bin(), "serve"], "/livez", (port, { urlLifeSeconds }) => ({
    PARTITA_LISTEN: `127.0.0.1:${port}`,
    PARTITA_DATA_DIR: path.join(folder, prefix),
    PARTITA_INSECURE_NO_AUTH: "true",
    PARTITA_S3_BUCKET: store.bucket,
    PARTITA_S3_ENDPOINT: store.url,
    PARTITA_S3_REGION: store.region,
    PARTITA_S3_PATH_STYLE: "true",
    PARTITA_S3_PREFIX: prefix,
    PARTITA_ALLOWED_ORIGINS: origin,
    PARTITA_PART_URL_TTL: `${urlLifeSeconds}s`,
    AWS_ACCESS_KEY_ID: store.keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: store.keys.secretAccessKey,
  }));
}

/**
 * @param {string} origin
 * @param {Store} store
 * @param {string} prefix of the keys
 */
export function companion(origin, store, prefix) {
  const command = path.join(import.meta.dirname, "companion.mjs");
  return coordinator([process.execPath, command], "", (port, { urlLifeSeconds }) => ({
    NODE_ENV: "production",
    PORT: String(port),
    ORIGIN: origin,
    URL_LIFE_SECONDS: String(urlLifeSeconds),
    S3_ENDPOINT: store.url,
    S3_BUCKET: store.bucket,
    S3_PREFIX: prefix,
    S3_REGION: store.region,
    S3_KEY: store.keys.accessKeyId,
    S3_SECRET: store.keys.secretAccessKey,
  }));
}

/**
 * @param {ConstructorParameters<typeof Child>[0]} command
 * @param {string} ready the path that answers once it serves
 * @param {(port: number, told: Told) => Record<string, string>} environment
 * @returns {Promise<Coordinator>}
 */
async function coordinator(command, ready, environment) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = new Child(command, url + ready);
  return { port, url, kill: () => child.kill(), start: (told) => child.start(environment(port, told)) };
}

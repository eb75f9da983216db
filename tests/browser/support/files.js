import assert from "node:assert/strict";
import { createHash, randomFillSync } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

export const MB = 1_000_000;
export const MIB = 1024 * 1024;

/** An image of one pixel. */
export const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg==",
  "base64",
);

/** @typedef {{ path: string, name: string, size: number, sha256: string }} TestFile */

/**
 * A folder, gone after the test.
 *
 * @param {import("node:test").TestContext} t
 */
export async function temporaryFolder(t) {
  const folder = await mkdtemp(path.join(tmpdir(), "partita-browser-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * A file of random bytes, gone after the test.
 *
 * @param {import("node:test").TestContext} t
 * @param {number} size
 */
export async function randomFile(t, size, name = "holiday.mov") {
  return writeRandomFile(await temporaryFolder(t), size, name);
}

/**
 * A file of random bytes.
 *
 * @param {string} folder
 * @param {number} size
 * @param {string} name
 * @returns {Promise<TestFile>}
 */
export async function writeRandomFile(folder, size, name) {
  const file = { path: path.join(folder, name), name, size, sha256: "" };
  const hash = createHash("sha256");
  const handle = await open(file.path, "w");
  const block = Buffer.alloc(4 * MIB);
  for (let written = 0; written < size; written += block.length) {
    const bytes = randomFillSync(block).subarray(0, size - written);
    hash.update(bytes);
    await handle.write(bytes);
  }
  await handle.close();
  file.sha256 = hash.digest("hex");
  return file;
}

/**
 * Follows a download link as any client would, and holds what comes against the file.
 *
 * @param {string} url
 * @param {TestFile} file
 */
export async function assertDownloads(url, file) {
  const response = await fetch(url);
  assert.equal(response.status, 200, `GET ${url}`);
  assert.ok(response.body);
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of response.body) {
    hash.update(chunk);
    size += chunk.length;
  }
  assert.equal(size, file.size, "the object's size");
  assert.equal(hash.digest("hex"), file.sha256, "the object's SHA-256");
}

/**
 * Uploads a small file as a script would, and tells its id.
 *
 * @param {{ url: string }} service
 * @param {{ filename: string, contentType: string, body: string | Buffer }} file
 * @returns {Promise<string>}
 */
export async function uploaded(service, { filename, contentType, body }) {
  const bytes = Buffer.from(body);
  const wanted = JSON.stringify({ filename, contentType, size: bytes.length });
  const headers = { "Content-Type": "application/json" };
  const created = await fetch(`${service.url}/v1/uploads`, { method: "POST", headers, body: wanted });
  assert.equal(created.status, 201, filename);
  const { upload, partUrls } = await created.json();
  for (const { url, headers } of partUrls) {
    const put = await fetch(url, { method: "PUT", headers, body: bytes });
    assert.equal(put.status, 200, filename);
  }
  const completed = await fetch(`${service.url}/v1/uploads/${upload.id}/complete`, { method: "POST" });
  assert.equal(completed.status, 200, filename);
  return upload.id;
}

/**
 * A file that is one hole, gone after the test.
 *
 * @param {import("node:test").TestContext} t
 * @param {number} size
 * @returns {Promise<TestFile>}
 */
export async function hollowFile(t, size, name = "hollow.bin") {
  const file = { path: path.join(await temporaryFolder(t), name), name, size, sha256: "" };
  const handle = await open(file.path, "w");
  await handle.truncate(size);
  await handle.close();
  return file;
}

// @ts-check
import { createHash, randomFillSync } from "node:crypto";
import { open } from "node:fs/promises";
import path from "node:path";

/** @typedef {{ path: string, size: number, sha256: string }} TestFile */

/**
 * A file of random bytes.
 *
 * @param {string} folder
 * @param {number} size in whole MiB
 * @returns {Promise<TestFile>}
 */
export async function randomFile(folder, size) {
  const file = { path: path.join(folder, `film-${size}.mov`), size, sha256: "" };
  const hash = createHash("sha256");
  const handle = await open(file.path, "w");
  const block = Buffer.alloc(2 ** 20);
  for (let written = 0; written < size; written += block.length) {
    hash.update(randomFillSync(block));
    await handle.write(block);
  }
  await handle.close();
  return { ...file, sha256: hash.digest("hex") };
}

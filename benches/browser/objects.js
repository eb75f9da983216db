// @ts-check
import { createHash } from "node:crypto";
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";

/** What the uploads left in the bucket. */
export class Objects {
  #s3;
  #bucket;

  /** @param {import("./servers.js").Store} store */
  constructor({ url, region, keys, bucket }) {
    this.#s3 = new S3Client({ endpoint: url, region, credentials: keys, forcePathStyle: true });
    this.#bucket = bucket;
  }

  /**
   * SHA-256 of each object whose key begins so. Afterwards it is gone: all together are more than a disk may hold.
   *
   * @param {string} prefix
   * @returns {Promise<string[]>}
   */
  async take(prefix) {
    const { Contents = [] } = await this.#s3.send(new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix }));
    const sums = [];
    for (const { Key = "" } of Contents) {
      const { Body } = await this.#s3.send(new GetObjectCommand({ Bucket: this.#bucket, Key }));
      const hash = createHash("sha256");
      for await (const chunk of /** @type {AsyncIterable<Uint8Array>} */ (Body)) hash.update(chunk);
      sums.push(hash.digest("hex"));
      await this.#s3.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key }));
    }
    return sums;
  }
}

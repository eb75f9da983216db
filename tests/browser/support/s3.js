import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";

/** @typedef {{ endpoint: string, region: string, accessKey: string, secretKey: string }} Store */

/**
 * Makes a bucket in which pages of `origin` may put parts.
 *
 * @param {Store} store
 * @param {string} bucket
 * @param {{ origin: string, exposeHeaders: string[] }} cors
 */
export async function createBucket(store, bucket, { origin, exposeHeaders }) {
  await send(store, "PUT", `/${bucket}`);
  const expose = exposeHeaders.map((name) => `<ExposeHeader>${name}</ExposeHeader>`).join("");
  await send(
    store,
    "PUT",
    `/${bucket}`,
    { cors: "" },
    `<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><CORSRule><AllowedOrigin>${origin}</AllowedOrigin>` +
      `<AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader>${expose}<MaxAgeSeconds>3600</MaxAgeSeconds>` +
      `</CORSRule></CORSConfiguration>`,
  );
}

/**
 * One request signed by AWS Signature Version 4.
 *
 * @param {Store} store
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} [query]
 */
async function send({ endpoint, region, accessKey, secretKey }, method, path, query = {}, body = "") {
  const url = new URL(path, endpoint);
  url.search = new URLSearchParams(query).toString();
  const time = new Date().toISOString().replace(/[-:]|\.\d{3}/g, "");
  const day = time.slice(0, 8);
  /** @type {Record<string, string>} */
  const headers = {
    "content-md5": createHash("md5").update(body).digest("base64"),
    host: url.host,
    "x-amz-content-sha256": sha256(body),
    "x-amz-date": time,
  };
  const names = Object.keys(headers).join(";");
  const canonical = [
    method,
    url.pathname,
    url.search.slice(1),
    ...Object.entries(headers).map(([name, value]) => `${name}:${value}`),
    "",
    names,
    headers["x-amz-content-sha256"],
  ].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const key = [day, region, "s3", "aws4_request"].reduce((key, part) => hmac(key, part), /** @type {string | Buffer} */ (`AWS4${secretKey}`));
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`).toString("hex");
  const { host, ...sent } = headers;
  sent.authorization = `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  const response = await fetch(url, { method, headers: sent, body: body || undefined });
  assert.ok(response.ok, `${method} ${url}: ${response.status} ${await response.text()}`);
}

/** @param {string} text */
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
/**
 * @param {string | Buffer} key
 * @param {string} text
 */
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

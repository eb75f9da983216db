// Uploads a file to Partita in parallel parts. Run again after an interruption, it goes on where it stopped.
//
// Node 20 or newer, no packages. It prints the upload's id:
//
//   PARTITA_SERVER=http://127.0.0.1:8080 PARTITA_TOKEN=… node upload.mjs FILE [UPLOAD_ID]
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { PARTITA_SERVER: server = "http://127.0.0.1:8080", PARTITA_TOKEN: token } = process.env;
const [PARALLEL, PAUSES, MIB] = [4, [500, 1000, 2000, 4000, 8000], 2 ** 20];

/** A request; what failed for the moment is repeated: no answer, 408, 429, 5xx, whatever says Retry-After, and `also`. */
async function send(request, also) {
  for (let tries = 0; ; tries++) {
    try {
      const { url, ...options } = await request();
      const response = await fetch(url, { signal: AbortSignal.timeout(600_000), ...options });
      if (response.ok) return response;
      const refusal = new Error(`${response.status} ${await response.text()}`);
      throw Object.assign(refusal, { status: response.status, retryAfter: response.headers.get("Retry-After") });
    } catch (fault) {
      const { status = 503, retryAfter } = fault;
      const passes = retryAfter || status >= 500 || [408, 429, also].includes(status);
      if (!passes || tries === PAUSES.length) throw fault;
      await sleep(retryAfter ? retryAfter * 1000 : PAUSES[tries] * (0.5 + Math.random() / 2));
    }
  }
}

/** The answer's JSON. Each call is safe to repeat; the one that creates by its Idempotency-Key. */
async function call(method, path, body, headers = {}) {
  headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }), ...headers };
  const request = { url: `${server}/v1/uploads${path}`, method, headers, body: body && JSON.stringify(body) };
  return (await send(async () => request)).json();
}

/** By which any client finds this file's upload: the CRC-64/NVME of its first, middle and last MiB. */
async function fingerprintOf(file) {
  const table = Array.from({ length: 256 }, (_, byte) => {
    let entry = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) entry = (entry >> 1n) ^ ((entry & 1n) * 0x9a6c9329ac4bc9b5n);
    return entry;
  });
  const offsets = file.size > 3 * MIB ? [0, Math.floor((file.size - MIB) / 2), file.size - MIB] : [0, MIB, 2 * MIB];
  const pieces = new Blob(offsets.map((offset) => file.slice(offset, offset + MIB)));
  let crc = 0xffff_ffff_ffff_ffffn;
  for (const byte of new Uint8Array(await pieces.arrayBuffer())) {
    crc = table[Number(crc & 0xffn) ^ byte] ^ (crc >> 8n);
  }
  return `p1-${file.size}-${(crc ^ 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, "0")}`;
}

async function findOrCreate(path, file, id) {
  const fingerprint = await fingerprintOf(file);
  if (id) {
    const upload = await call("GET", `/${id}`);
    if (upload.fingerprint !== fingerprint) throw new Error(`${id} is of a different file`);
    return upload;
  }
  const goesOn = ({ state, expiresAt }) => state === "completing" || (state === "open" && new Date(expiresAt) > Date.now());
  const found = (await call("GET", `?fingerprint=${fingerprint}`)).items.find(goesOn);
  if (found) return found;
  const wanted = { filename: basename(path), size: file.size, fingerprint, partUrls: { count: 0 } };
  return (await call("POST", "", wanted, { "Idempotency-Key": crypto.randomUUID() })).upload;
}

async function sendPart(file, id, partNumber) {
  // A URL of its own for each attempt: the last one may have expired, which S3 answers by 403.
  await send(async () => {
    const { partUrls } = await call("POST", `/${id}/part-urls`, { parts: `${partNumber}` });
    const { url, method, headers, offset, size } = partUrls[0];
    return { url, method, headers, body: file.slice(offset, offset + size) };
  }, 403);
  console.error(`sent part ${partNumber}`);
}

async function upload(path, id) {
  const file = await openAsBlob(path);
  const upload = await findOrCreate(path, file, id);
  if (upload.state === "open") {
    // What an earlier run has sent is at S3, which is asked for it. The answer's ranges are such as "3-5,8".
    const { missingParts } = await call("POST", `/${upload.id}/sync`);
    const ranges = missingParts.split(",").filter(Boolean).map((text) => text.split("-").map(Number));
    const missing = ranges.flatMap(([first, last = first]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
    const lane = async () => { while (missing.length) await sendPart(file, upload.id, missing.shift()); };
    await Promise.all(Array.from({ length: PARALLEL }, lane));
  }
  while ((await call("POST", `/${upload.id}/complete`)).state !== "completed") await sleep(1000);
  console.log(upload.id);
}

const [path, id] = process.argv.slice(2);
await upload(path ?? "", id).catch((fault) => {
  console.error(path ? `${fault.message} ${fault.cause ?? ""}` : "usage: node upload.mjs FILE [UPLOAD_ID]");
  // At once: other lanes may still be waiting for their next try.
  process.exit(1);
});

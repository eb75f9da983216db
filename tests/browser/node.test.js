// The same client in Node.
import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { test } from "node:test";
import { resume, upload } from "../../web-demo/client/index.js";
import { assertDownloads, MB, randomFile } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";

test("Node sends a file in two calls, tells its progress, and has its checksum compared", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 60 * MB);
  const sending = upload(await openAsBlob(file.path), { endpoint: service.url, filename: file.name });
  const calls = [];
  let mostSent = 0;
  for await (const event of sending) {
    if (event.type === "call") calls.push(event.call.operationId);
    if (event.type === "progress" && event.sentBytes > event.storedBytes) mostSent = Math.max(mostSent, event.sentBytes);
  }
  const { id, object } = await sending;
  assert.deepEqual(calls, ["createUpload", "completeUpload"]);
  assert.ok(mostSent > 0, "bytes of parts under way");
  assert.equal(object?.checksum?.verified, true);
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
});

test("Node goes on with an upload, and sends only what is missing", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 60 * MB);
  const blob = await openAsBlob(file.path);
  const first = upload(blob, { endpoint: service.url, filename: file.name, connections: 1 });
  for await (const event of first) {
    if (event.type === "part" && event.state === "stored" && event.partNumber === 3) break;
  }
  first.pause();
  /** @type {number[]} */
  const sent = [];
  const second = resume(first.id ?? "", blob, { endpoint: service.url });
  for await (const event of second) if (event.type === "part" && event.state === "stored") sent.push(event.partNumber);
  const { object, id } = await second;
  first.abort(); // or it would try to record its parts after all, when the service is gone
  assert.ok(sent.length > 0 && !sent.some((partNumber) => partNumber <= 3), sent.join());
  assert.equal(object?.checksum?.verified, true);
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
});

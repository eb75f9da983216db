// The client in a real browser, without the demo page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertDownloads, MB, MIB, randomFile } from "./support/files.js";
import { openLibrary } from "./support/library.js";
import { startZeroSetup } from "./support/service.js";

const CORS = { "access-control-allow-origin": "*" };

test("a small file costs two calls, and the service has compared its checksum", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 20 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  const { object, id } = await demo.page.evaluate(async () => window.client.upload(window.chosen()));
  const calls = demo.requests.filter(({ url }) => url.pathname.startsWith("/v1/")).map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(calls, ["POST /v1/uploads", `POST /v1/uploads/${id}/complete`]);
  assert.equal(object?.checksum?.algorithm, "CRC64NVME");
  assert.equal(object?.checksum?.verified, true);
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
  demo.assertNoComplaints();
});

test("an upload is a promise, tells its events in order, and its progress in bytes", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 20 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  const told = await demo.page.evaluate(async () => {
    const upload = window.client.upload(window.chosen());
    const following = window.follow(upload);
    const other = upload.then((resource) => resource.id, () => "failed");
    await following;
    return {
      isPromise: upload instanceof Promise,
      id: upload.id,
      then: await other,
      state: upload.state,
      states: window.seen.flatMap((event) => (event.type === "state" ? event.state : [])),
      operations: window.seen.flatMap((event) => (event.type === "call" ? event.call.operationId : [])),
      stored: window.seen.flatMap((event) => (event.type === "part" && event.state === "stored" ? event.partNumber : [])),
      lanes: window.seen.flatMap((event) => (event.type === "part" ? event.lane : [])),
      progress: window.seen.flatMap((event) => (event.type === "progress" ? event.sentBytes : [])),
    };
  });
  assert.equal(told.isPromise, true);
  assert.equal(told.then, told.id);
  assert.equal(told.state, "completed");
  assert.deepEqual(told.states, ["preparing", "sending", "completing", "completed"]);
  assert.deepEqual(told.operations, ["createUpload", "completeUpload"]);
  assert.deepEqual(told.stored.sort(), [1, 2, 3]);
  assert.ok(told.lanes.every((lane) => lane !== undefined && lane >= 0 && lane < 6));
  assert.equal(told.progress.at(-1), file.size);
});

test("pause stops the bytes, resume goes on, abort and an AbortSignal give the upload up", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 60 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  await demo.limitUpload(20 * MB);
  await demo.page.evaluate(() => {
    window.upload = window.client.upload(window.chosen());
  });
  await demo.untilStored(1);
  await demo.page.evaluate(() => window.upload.pause());
  await demo.page.waitForTimeout(300); // the news of requests come a little later
  const before = demo.puts.length;
  await demo.page.waitForTimeout(1000);
  assert.equal(demo.puts.length, before);
  assert.equal(await demo.page.evaluate(() => window.upload.state), "paused");
  await demo.page.evaluate(() => window.upload.resume());
  await demo.untilStored(3);
  const aborted = await demo.page.evaluate(async () => {
    window.upload.abort();
    return window.upload.catch((error) => ({ code: error.code, retryable: error.retryable, id: window.upload.id ?? "", state: window.upload.state }));
  });
  assert.equal("code" in aborted && aborted.code, "aborted");
  assert.equal(aborted.state, "aborted");
  assert.match((await service.get(`/v1/uploads/${aborted.id}`)).state, /^abort/);

  const byOwnSignal = await demo.page.evaluate(async () => {
    const controller = new AbortController();
    const upload = window.client.upload(window.chosen(), { signal: controller.signal });
    for await (const event of upload) if (event.type === "plan") controller.abort();
    return upload.then(() => "completed", (error) => error.code);
  });
  assert.equal(byOwnSignal, "aborted");
  assert.deepEqual((await service.get("/v1/uploads?state=open")).items, []);
});

test("a part that stalls begins anew", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 40 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  let stalls = 0;
  await demo.page.route((url) => url.searchParams.get("partNumber") === "2", (route) => {
    if (++stalls > 1) return route.fallback();
    return new Promise(() => {}); // and no answer, ever
  });
  const retries = await demo.page.evaluate(async () => {
    const upload = window.client.upload(window.chosen(), { stallMs: 4000 });
    await window.follow(upload);
    await upload;
    return window.seen.flatMap((event) => (event.type === "retry" ? { code: event.error.code, part: event.partNumber } : []));
  });
  assert.ok(retries.some(({ code, part }) => code === "stalled" && part === 2), JSON.stringify(retries));
  assert.ok(stalls >= 2);
});

test("a failure that CORS hides is signed again once, as an answer of 403 is", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 8 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  // S3 refuses an expired URL, and its answer has no CORS header: the page learns nothing of it.
  let first = "";
  await demo.page.route((url) => url.searchParams.get("partNumber") === "1", (route) => {
    first ||= route.request().url();
    return route.request().url() === first ? route.fulfill({ status: 403, body: "<Error><Code>AccessDenied</Code></Error>" }) : route.fallback();
  });
  await demo.page.evaluate(async () => {
    const now = Date.now();
    while (Date.now() - now < 1100); // a URL signed within the same second is the same URL
    return window.client.upload(window.chosen());
  });
  assert.equal(demo.calls("POST", "/part-urls").length >= 1, true);
  assert.equal(demo.storedParts().get(1), 1);
});

test("S3's 503 is waited for as long as it asks, and halves the connections", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 60 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  let refused = 0;
  await demo.page.route((url) => url.searchParams.get("partNumber") === "1", (route) => {
    if (++refused > 1) return route.fallback();
    const headers = { ...CORS, "access-control-expose-headers": "Retry-After", "retry-after": "2" };
    return route.fulfill({ status: 503, headers, body: "<Error><Code>SlowDown</Code></Error>" });
  });
  await demo.page.evaluate(async () => window.client.upload(window.chosen()));
  const [one, again] = demo.puts.filter(({ partNumber }) => partNumber === 1);
  assert.ok(again.startedAt - (one.endedAt ?? Infinity) >= 2000, `${again.startedAt - (one.endedAt ?? 0)} ms`);
});

for (const [name, offset] of /** @type {const} */ ([["forward", 3600_000], ["back", -3600_000]])) {
  test(`an upload survives the clock being set ${name} by an hour`, async (t) => {
    const service = await startZeroSetup(t);
    const file = await randomFile(t, 60 * MB);
    const demo = await openLibrary(t, service);
    await demo.page.setInputFiles("#file", file.path);
    await demo.limitUpload(30 * MB);
    await demo.page.evaluate(() => {
      const { now } = Date;
      window.clockOffset = 0;
      Date.now = () => now() + window.clockOffset;
      window.upload = window.client.upload(window.chosen());
    });
    await demo.untilStored(2);
    await demo.page.evaluate((offset) => (window.clockOffset = offset), offset);
    const { id } = await demo.page.evaluate(async () => window.upload);
    demo.assertNothingSentAgain();
    assert.deepEqual(demo.puts.filter(({ status }) => status === 403), []);
    await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
  });
}

test("a file that is not what was sent is never completed", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 20 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  const failure = await demo.page.evaluate(async () => {
    // What is on its way to S3 is changed where nobody looks.
    const { send } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.send = function (/** @type {XMLHttpRequestBodyInit | null | undefined} */ body) {
      send.call(this, body instanceof Blob ? new Blob([new Uint8Array(body.size)]) : body);
    };
    return window.client.upload(window.chosen()).then(() => undefined, ({ code, problem, status }) => ({ code, problem, status }));
  });
  assert.equal(failure?.code, "checksum-mismatch");
  assert.equal(failure?.problem?.code, "checksum-mismatch");
  assert.deepEqual((await service.get("/v1/files?limit=10")).items, []);
});

test("errors say what they are: a code, whether to try again, the service's problem document", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 1 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  const failures = await demo.page.evaluate(async () => {
    const { upload, resume, UploadError } = window.client;
    /** @param {Promise<unknown>} upload */
    const failure = (upload) =>
      upload.then(() => undefined, (error) => ({ isOurs: error instanceof UploadError, code: error.code, retryable: error.retryable, status: error.status, title: error.problem?.title }));
    return [
      await failure(upload(window.chosen(), { preset: "nowhere" })),
      await failure(upload(new Blob(["x"]))),
      await failure(resume("01a20568-6095-7738-be20-e8dcad4e5462", window.chosen())),
      await failure(resume("01a20568-6095-7738-be20-e8dcad4e5462")),
    ];
  });
  assert.deepEqual(failures.map((each) => each?.code), ["preset-not-found", "invalid-filename", "upload-not-found", "upload-not-found"]);
  assert.ok(failures.every((each) => each?.isOurs && !each.retryable));
  assert.equal(failures[0]?.status, 404);
  assert.ok(failures[0]?.title);
});

test("a token may come from a function, and is asked for anew when it was refused", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 1 * MB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  /** @type {(string | undefined)[]} */
  const sent = [];
  await demo.page.route("**/v1/**", (route) => {
    const token = route.request().headers().authorization;
    sent.push(token);
    if (token === "Bearer fresh") return route.fallback();
    const body = JSON.stringify({ code: "invalid-token", title: "The token is not good", status: 401 });
    return route.fulfill({ status: 401, contentType: "application/problem+json", body });
  });
  const asked = await demo.page.evaluate(async () => {
    /** @type {unknown[]} */
    const asked = [];
    let token = "old";
    const ask = async (/** @type {{ token?: string } | undefined} */ refused) => {
      asked.push(refused);
      if (refused) token = "fresh";
      return token;
    };
    await window.client.upload(window.chosen(), { token: ask });
    return asked;
  });
  assert.deepEqual(sent, ["Bearer old", "Bearer fresh", "Bearer fresh"]);
  assert.deepEqual(asked, [undefined, { token: "old" }, undefined]);
});

test("parts that have to carry checksums carry them", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 20 * MIB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  const fingerprint = await demo.page.evaluate(() => window.client.fingerprint(window.chosen()));
  const created = await fetch(`${service.url}/v1/uploads`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ filename: file.name, size: file.size, fingerprint, partChecksum: "CRC64NVME" }),
  });
  assert.equal(created.status, 201);
  const { upload } = await created.json();
  const { id, object } = await demo.page.evaluate(async (id) => window.client.resume(id, window.chosen()), upload.id);
  assert.equal(object?.checksum?.verified, true);
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
});

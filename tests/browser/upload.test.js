import assert from "node:assert/strict";
import { test } from "node:test";
import { openDemo } from "./support/browser.js";
import { assertDownloads, hollowFile, MB, MIB, randomFile } from "./support/files.js";
import { openLibrary } from "./support/library.js";
import { SETUPS, startZeroSetup } from "./support/service.js";

const NARROW = { width: 360, height: 740 };

for (const [setup, start] of Object.entries(SETUPS)) {
  test(`a 300 MB file goes from the page to S3 in parallel parts and arrives intact (${setup})`, async (t) => {
    const service = await start(t);
    const file = await randomFile(t, 300 * MB);
    const demo = await openDemo(t, service);
    const shot = start === startZeroSetup;
    if (shot) await demo.screenshot("start-light");

    await demo.limitUpload(40 * MB);
    await demo.choose(file);
    await demo.untilStored(8);
    if (shot) {
      await demo.screenshot("sending-light");
      await demo.screenshot("sending-dark", { colorScheme: "dark" });
      await demo.screenshot("sending-narrow", { viewport: NARROW });
    }
    await demo.untilState("completed");
    if (shot) {
      await demo.screenshot("completed-light");
      await demo.screenshot("completed-dark", { colorScheme: "dark" });
      await demo.screenshot("completed-narrow", { viewport: NARROW });
    }

    const upload = await service.get(`/v1/uploads/${await demo.uploadId()}`);
    assert.equal(upload.state, "completed");
    assert.equal(upload.filename, file.name);
    assert.equal(upload.object?.size, file.size);
    assert.ok(upload.partCount);
    await demo.assertEachPartStoredOnce(upload.partCount);
    await assertDownloads(await demo.downloadUrl(), file);

    await t.test("several parts are on their way at once, and never more than six", () => {
      const most = demo.mostAtOnce;
      assert.ok(most >= 3 && most <= 6, `${most}`);
    });

    await t.test("every byte goes to the other origin, S3, and none through the service", () => {
      assert.notEqual(service.s3Url, service.url);
      const sent = demo.puts.filter(({ status }) => status === 200).map(({ bodySize }) => bodySize);
      assert.equal(sum(sent), file.size);
      const toService = demo.requests.filter(({ url }) => url.origin === service.url);
      assert.ok(sum(toService.map(({ bodySize }) => bodySize)) < 20_000);
    });

    await t.test("URLs are signed in small windows, parts are recorded in groups", () => {
      const signed = demo.calls("POST", "/part-urls").length;
      const recorded = demo.calls("PUT", "/parts").length;
      assert.ok(signed >= 1 && signed <= 6, `${signed} calls to sign ${upload.partCount} parts`);
      assert.ok(recorded >= 1 && recorded <= 6, `${recorded} calls to record ${upload.partCount} parts`);
    });

    await t.test("nothing to complain about in the console", () => demo.assertNoComplaints());
  });
}

test("a thousand parts cost the service at most twelve calls, and each is recorded as it lands", async (t) => {
  const service = await startZeroSetup(t);
  // Holes take no room on disk; S3 never sees them either.
  const file = await hollowFile(t, 1000 * 8 * MIB);
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  // Eight thousand megabytes need not go anywhere to be counted.
  await demo.page.evaluate(() => {
    class StoredAtOnce {
      upload = {};
      status = 200;
      /** @type {(() => void) | undefined} */
      onload;
      open() {}
      setRequestHeader() {}
      abort() {}
      getAllResponseHeaders() {
        return `etag: "${"0".repeat(32)}"\r\n`;
      }
      send() {
        setTimeout(() => this.onload?.());
      }
    }
    Object.assign(globalThis, { XMLHttpRequest: StoredAtOnce });
  });
  /** @type {Promise<{ recordedParts: number, last: number }>} */
  const completed = new Promise((resolve) => {
    demo.page.route("**/complete", async (route) => {
      // All that remains is that S3 should have the parts.
      const id = new URL(route.request().url()).pathname.split("/").at(-2);
      // It is asked for again and again, also when the test is over.
      const { parts = [] } = route.request().postDataJSON();
      await service.get(`/v1/uploads/${id}`).then(({ recordedParts }) => resolve({ recordedParts, last: parts.length }), () => {});
      await route.abort();
    });
  });
  // Nor need they be read for a checksum of nothing.
  await demo.page.evaluate(() => void window.client.upload(window.chosen(), { checksum: false }));
  const { recordedParts, last } = await completed;
  const calls = [
    demo.calls("POST", "/v1/uploads").length,
    demo.calls("POST", "/part-urls").length,
    demo.calls("PUT", "/parts").length,
  ];
  const total = calls.reduce((sum, count) => sum + count) + 1;
  t.diagnostic(`${calls.join(" + ")} + 1 calls`);
  assert.ok(total <= 12, `${calls.join(" + ")} + 1 calls`);
  // What is left of the last group goes with the completion.
  assert.equal(recordedParts + last, 1000);
  assert.ok(last < 200, `${last} were recorded only at the end`);
});

test("an empty file has no parts and arrives", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 0, "empty.txt");
  const demo = await openDemo(t, service);
  await demo.choose(file);
  await demo.untilState("completed");
  assert.equal(demo.puts.length, 0);
  await assertDownloads(await demo.downloadUrl(), file);
  demo.assertNoComplaints();
});

test("several files wait their turn and all arrive", async (t) => {
  const service = await startZeroSetup(t);
  const files = [
    await randomFile(t, 20 * MIB, "first.bin"),
    await randomFile(t, 1, "one byte.txt"),
    await randomFile(t, 8 * MIB + 1, "Übermaß 数.bin"),
    await randomFile(t, 3, "last.txt"),
  ];
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(...files);
  assert.equal(await demo.card(4).getAttribute("data-state"), "waiting");
  for (const [index, file] of files.entries()) {
    await demo.untilState("completed", index + 1);
    assert.equal(await demo.card(index + 1).locator(".name").textContent(), file.name);
    await assertDownloads(await demo.downloadUrl(index + 1), file);
  }
  demo.assertNoComplaints();
});

test("files may be dropped anywhere on the page", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  await demo.page.evaluate(() => {
    const footer = /** @type {HTMLElement} */ (document.querySelector(".scenes"));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(["dropped"], "dropped.txt", { type: "text/plain" }));
    for (const type of ["dragover", "drop"]) {
      footer.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
    }
  });
  await demo.untilState("completed");
  const upload = await service.get(`/v1/uploads/${await demo.uploadId()}`);
  assert.equal(upload.filename, "dropped.txt");
  assert.equal(upload.contentType, "text/plain");
});

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

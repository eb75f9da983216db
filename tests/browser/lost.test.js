// Nothing is lost: a killed browser goes on without choosing the file again; other tabs watch, and take over.
import assert from "node:assert/strict";
import { test } from "node:test";
import { freshProfile, killableBrowser } from "./support/browser.js";
import { assertDownloads, MB, randomFile } from "./support/files.js";
import { openLibrary } from "./support/library.js";
import { load } from "./support/load.js";
import { startZeroSetup } from "./support/service.js";

/** Copies the chosen file to where the browser keeps it, and has a handle of it that needs no permission. */
const keepFile = async () => {
  const folder = await navigator.storage.getDirectory();
  const handle = await folder.getFileHandle("kept.bin", { create: true });
  const writable = await handle.createWritable();
  await writable.write(window.chosen());
  await writable.close();
  return handle;
};

test("a killed browser, started again, goes on from where S3 is, without choosing the file again", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 120 * MB);
  const chromium = await killableBrowser(t);
  const first = await openLibrary(t, service, await chromium.start());
  await chooseInKilled(first.page, file.path);
  const keep = await first.page.evaluateHandle(`(${keepFile})()`);
  await first.limitUpload(20 * MB);
  await first.page.evaluate((handle) => {
    window.upload = window.client.upload(/** @type {FileSystemFileHandle} */ (handle), { filename: "holiday.mov" });
  }, keep);
  await first.untilStored(4);
  await first.page.waitForTimeout(200);
  await chromium.kill();
  const stored = first.storedParts();

  const second = await openLibrary(t, service, await chromium.start());
  const [found, ...more] = await second.page.evaluate(() => window.client.listResumable());
  assert.deepEqual(more, []);
  assert.equal(found.filename, "holiday.mov");
  assert.equal(found.isHere, true);
  assert.equal(found.file, "ready");
  assert.equal(found.isActive, false);
  const upload = await second.page.evaluate((id) => window.client.resume(id).then((resource) => resource), found.id);
  assert.equal(upload.object?.checksum?.verified, true);
  for (const { partNumber } of second.puts) assert.ok(!stored.has(partNumber), `part ${partNumber} was sent again`);
  await assertDownloads(`${service.url}/v1/files/${found.id}/download`, file);
  assert.deepEqual(await second.page.evaluate(() => window.client.listResumable()), []);
});

test("without a handle the same file, chosen again, goes on, and another one is refused", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const other = await randomFile(t, 80 * MB, "other.mov");
  const demo = await openLibrary(t, service);
  await demo.page.setInputFiles("#file", file.path);
  await demo.limitUpload(20 * MB);
  await demo.page.evaluate(() => void window.client.upload(window.chosen()));
  await demo.untilStored(3);
  await demo.page.reload();
  await load(demo.page);

  const [found] = await demo.page.evaluate(() => window.client.listResumable());
  assert.equal(found.file, "choose");
  const failure = (/** @type {string} */ id, /** @type {boolean} */ withFile) =>
    demo.page.evaluate(
      ([id, withFile]) => window.client.resume(String(id), withFile ? window.chosen() : undefined).then(() => "", (error) => error.code),
      [id, withFile],
    );
  assert.equal(await failure(found.id, false), "file-needed");
  await demo.page.setInputFiles("#file", other.path);
  assert.equal(await failure(found.id, true), "file-differs");
  assert.equal((await service.get(`/v1/uploads/${found.id}`)).state, "open");

  await demo.page.setInputFiles("#file", file.path);
  const { id } = await demo.page.evaluate(async () => window.client.upload(window.chosen()));
  assert.equal(id, found.id, "the file is known: no other upload was begun");
  demo.assertNothingSentAgain();
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
});

test("a second tab with the same file watches the first, and both end with the same upload", async (t) => {
  const { first, second } = await twoTabs(t);
  await first.untilStored(2);
  await second.page.evaluate(() => {
    window.upload = window.client.upload(window.chosen());
    window.follow(window.upload);
  });
  const ids = await Promise.all([first, second].map(({ page }) => page.evaluate(() => window.upload.then(({ id }) => id))));
  assert.equal(ids[0], ids[1]);
  assert.equal(second.puts.length, 0, "parts sent by the one that watches");
  assert.equal(second.calls("POST", "/v1/uploads").length, 0);
  const told = await second.page.evaluate(() => window.seen.map((event) => (event.type === "state" ? event.state : event.type)));
  assert.equal(told[0], "preparing");
  assert.equal(told[1], "elsewhere");
  assert.ok(told.filter((type) => type === "progress").length >= 3, told.join());
  assert.equal(told.at(-1), "completed");
});

test("a tab that watches takes over when the one that sends is gone", async (t) => {
  const { service, file, first, second } = await twoTabs(t);
  await first.untilStored(3);
  const [found] = await second.page.evaluate(() => window.client.listResumable());
  assert.equal(found.isActive, true);
  await second.page.evaluate((id) => {
    window.upload = window.client.resume(id, window.chosen());
  }, found.id);
  await second.page.waitForFunction(() => window.upload.state === "elsewhere");
  await first.page.close();
  const { id } = await second.page.evaluate(async () => window.upload);
  assert.equal(id, found.id);
  for (const { partNumber } of second.puts) assert.ok(!first.storedParts().has(partNumber), `part ${partNumber} was sent again`);
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
});

test("an upload given up in one tab is given up in all", async (t) => {
  const { first, second } = await twoTabs(t);
  await first.untilStored(1);
  await second.page.evaluate(() => {
    window.upload = window.client.upload(window.chosen());
  });
  await second.page.waitForFunction(() => window.upload.state === "elsewhere");
  await first.page.evaluate(() => window.upload.abort());
  const code = await second.page.evaluate(() => window.upload.then(() => "completed", (error) => error.code));
  assert.equal(code, "aborted");
  assert.equal(second.puts.length, 0);
});

/**
 * Two tabs of one browser with the same file, which the first has begun to send, slowly.
 *
 * @param {import("node:test").TestContext} t
 */
async function twoTabs(t) {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const profile = await freshProfile(t);
  const first = await openLibrary(t, service, profile);
  const second = await openLibrary(t, service, profile);
  for (const { page } of [first, second]) await page.setInputFiles("#file", file.path);
  await first.limitUpload(20 * MB);
  await first.page.evaluate(() => {
    window.upload = window.client.upload(window.chosen());
  });
  return { service, file, first, second };
}

/**
 * As `setInputFiles`, which does not do it for large files in a browser that it did not start.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} path
 */
async function chooseInKilled(page, path) {
  const cdp = await page.context().newCDPSession(page);
  const { root } = await cdp.send("DOM.getDocument");
  const { nodeId } = await cdp.send("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
  await cdp.send("DOM.setFileInputFiles", { nodeId, files: [path] });
}

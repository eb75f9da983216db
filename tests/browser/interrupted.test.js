import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openDemo } from "./support/browser.js";
import { assertDownloads, MB, randomFile } from "./support/files.js";
import { SETUPS, startZeroSetup } from "./support/service.js";

for (const [setup, start] of Object.entries(SETUPS)) {
  test(`a page reloaded half-way offers the upload and goes on once the file is chosen again (${setup})`, async (t) => {
    const service = await start(t);
    const file = await randomFile(t, 300 * MB);
    const demo = await openDemo(t, service);
    await demo.limitUpload(40 * MB);
    await demo.choose(file);
    await demo.untilStored(10);
    await demo.page.reload();

    const offer = demo.page.locator("#offers > .card");
    await offer.waitFor();
    assert.match((await offer.textContent()) ?? "", /holiday\.mov/);
    if (start === startZeroSetup) await demo.screenshot("unfinished-light");
    await offer.locator(".choose").setInputFiles(file.path);
    await demo.untilState("completed");
    assert.equal(await offer.count(), 0);

    assert.equal(demo.calls("POST", "/v1/uploads").length, 1, "uploads begun");
    demo.assertNothingSentAgain();
    await assertDownloads(await demo.downloadUrl(), file);
  });

  test(`a service killed half-way and started again is waited for (${setup})`, async (t) => {
    const service = await start(t);
    const file = await randomFile(t, 300 * MB);
    const demo = await openDemo(t, service);
    await demo.limitUpload(40 * MB);
    await demo.choose(file);
    await demo.untilStored(10);
    await service.kill();
    await sleep(3000);
    assert.notEqual(await demo.card().getAttribute("data-state"), "failed");
    if (start === startZeroSetup) await demo.screenshot("service-away-light");
    await service.start();
    await demo.untilState("completed");

    assert.equal(demo.calls("POST", "/v1/uploads").length, 1, "uploads begun");
    demo.assertNothingSentAgain();
    await assertDownloads(await demo.downloadUrl(), file);
  });
}

test("a file chosen anew after a reload goes on with its open upload instead of beginning another", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(2);
  await demo.page.reload();
  await demo.page.locator("#offers > .card").waitFor();
  await demo.choose(file);
  await demo.untilState("completed");
  assert.equal(await demo.page.locator("#offers > .card").count(), 0);
  assert.equal(demo.calls("POST", "/v1/uploads").length, 1, "uploads begun");
  demo.assertNothingSentAgain();
  await assertDownloads(await demo.downloadUrl(), file);
});

test("an upload begun in another browser is offered, too", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const first = await openDemo(t, service);
  await first.limitUpload(20 * MB);
  await first.choose(file);
  await first.untilStored(2);
  await first.context.close();

  const second = await openDemo(t, service);
  await second.page.locator("#offers > .card .choose").setInputFiles(file.path);
  await second.untilState("completed");
  assert.equal(second.calls("POST", "/v1/uploads").length, 0, "uploads begun");
  assert.ok(second.puts.length < 10);
  await assertDownloads(await second.downloadUrl(), file);
});

test("a lost network pauses the upload, and its return resumes it", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(2);
  await demo.context.setOffline(true);
  await demo.untilState("offline");
  await demo.context.setOffline(false);
  await demo.untilState("completed");
  demo.assertNothingSentAgain();
  await assertDownloads(await demo.downloadUrl(), file);
});

test("an upload that was completed while the page was away is shown with its download link", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 20 * MB);
  const demo = await openDemo(t, service);
  // The answer to the completion never reaches the page.
  await demo.page.route("**/complete", async (route) => {
    await route.fetch();
    await route.abort();
  });
  await demo.choose(file);
  await demo.untilState("completing");
  await demo.page.waitForEvent("requestfailed");
  await demo.page.unrouteAll({ behavior: "ignoreErrors" });
  await demo.page.reload();
  const row = demo.page.locator("#stored > .row").filter({ hasText: file.name });
  const url = await row.locator(".get").evaluate((/** @type {HTMLAnchorElement} */ link) => link.href);
  await assertDownloads(url, file);
  assert.equal(await demo.page.locator(".card").count(), 0, "there is nothing left to go on with");
});

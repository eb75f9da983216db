import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { openDemo } from "./support/browser.js";
import { assertDownloads, MB, MIB, randomFile } from "./support/files.js";
import { startOnSeaweedFS, startZeroSetup } from "./support/service.js";

/** @typedef {import("playwright-core").Route} Route */

const CORS = { "access-control-allow-origin": "*" };

/**
 * Answers the next request for this part in S3's stead. (Not by `times: 1`: when the last route goes, Playwright stops
 * intercepting, and loses sight of requests that are just then under way.)
 *
 * @param {import("./support/browser.js").Demo} demo
 * @param {number} partNumber
 * @param {(route: Route) => Promise<void>} handler
 */
function failOnce(demo, partNumber, handler) {
  let failed = false;
  /** @param {URL} url */
  const isPart = (url) => url.searchParams.get("partNumber") === String(partNumber);
  return demo.page.route(isPart, (route) => {
    if (failed) return route.fallback();
    failed = true;
    return handler(route);
  });
}

test("a refused part is signed again, a failing one is tried again, and so is a cut connection", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 8 * 8 * MIB);
  const demo = await openDemo(t, service);
  await failOnce(demo, 2, (route) => route.fulfill({ status: 403, headers: CORS, body: "<Error><Code>AccessDenied</Code></Error>" }));
  await failOnce(demo, 3, (route) => route.fulfill({ status: 500, headers: CORS, body: "<Error><Code>InternalError</Code></Error>" }));
  await failOnce(demo, 4, (route) => route.fulfill({ status: 503, headers: { ...CORS, "retry-after": "1" }, body: "" }));
  await failOnce(demo, 5, (route) => route.abort("connectionreset"));
  await demo.choose(file);
  await demo.untilState("completed");

  await demo.assertEachPartStoredOnce(8);
  /** @param {number} number */
  const tries = (number) => demo.puts.filter(({ partNumber }) => partNumber === number);
  for (const number of [2, 3, 4, 5]) assert.equal(tries(number).length, 2, `tries of part ${number}`);
  for (const number of [1, 6, 7, 8]) assert.equal(tries(number).length, 1, `tries of part ${number}`);
  assert.ok(demo.calls("POST", "/part-urls").length >= 1, "the refused part was signed again");
  await assertDownloads(await demo.downloadUrl(), file);
});

test("URLs that expired during a pause are replaced before they are used", async (t) => {
  const service = await startZeroSetup(t, { PARTITA_PART_URL_TTL: "2s" });
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(40 * MB);
  await demo.choose(file);
  await demo.untilStored(2);
  await demo.card().locator(".pause").click();
  await demo.page.waitForTimeout(3000);
  await demo.card().locator(".pause").click();
  await demo.untilState("completed");
  assert.deepEqual(demo.puts.filter(({ status }) => status === 403), []);
  await demo.assertEachPartStoredOnce(10);
  await assertDownloads(await demo.downloadUrl(), file);
});

test("a bucket whose CORS rule hides ETag does not fail the upload", async (t) => {
  const service = await startOnSeaweedFS(t, {}, { exposeHeaders: [] });
  const file = await randomFile(t, 40 * MB);
  const demo = await openDemo(t, service);
  await demo.choose(file);
  await demo.untilState("completed");
  assert.equal(demo.calls("PUT", "/parts").length, 0, "nothing can be recorded");
  await assertDownloads(await demo.downloadUrl(), file);
  demo.assertNoComplaints();
});

test("parts that are missing at the end are sent again", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 40 * MB);
  const demo = await openDemo(t, service);
  // A part whose bytes never arrived, though something on the way answered 200.
  await failOnce(demo, 3, (route) => route.fulfill({ status: 200, headers: CORS }));
  await demo.choose(file);
  await demo.untilState("completed");
  assert.equal(demo.calls("POST", "/complete").at(0)?.status, 409);
  assert.equal(demo.puts.filter(({ partNumber }) => partNumber === 3).length, 2);
  await assertDownloads(await demo.downloadUrl(), file);
});

test("pause stops sending, resume goes on, cancel gives the upload up", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 120 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(2);

  await demo.card().locator(".pause").click();
  await demo.untilState("paused");
  await demo.page.waitForTimeout(300);
  const before = demo.puts.length;
  await demo.page.waitForTimeout(1500);
  assert.equal(demo.puts.length, before, "parts begun while paused");

  await demo.card().locator(".pause").click();
  await demo.untilStored(6);
  assert.deepEqual([...demo.storedParts().values()].filter((count) => count !== 1), [], "parts stored twice");

  const { items } = await service.get("/v1/uploads?state=open");
  assert.equal(items.length, 1);
  const deleted = demo.page.waitForResponse((response) => response.request().method() === "DELETE");
  await demo.card().locator(".cancel").click();
  await demo.untilState("aborted");
  assert.equal((await deleted).status(), 204);
  assert.match((await service.get(`/v1/uploads/${items[0].id}`)).state, /^abort/);
  await demo.page.reload();
  await demo.page.waitForLoadState("networkidle");
  assert.equal(await demo.page.locator(".card").count(), 0, "what was cancelled is not offered");
});

test("another file is refused on resume, in plain words, and the upload is left as it was", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const sameSize = await randomFile(t, 80 * MB, "impostor.mov");
  const otherSize = await randomFile(t, 81 * MB, "other.mov");
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(3);
  await demo.page.reload();
  const offer = demo.page.locator("#offers > .card");
  await offer.waitFor();
  const before = demo.puts.length;

  await offer.locator(".choose").setInputFiles(otherSize.path);
  await offer.getByRole("alert").filter({ hasText: "“other.mov” is another file: it has 81 MB, the unfinished one 80 MB." }).waitFor();
  await offer.locator(".choose").setInputFiles(sameSize.path);
  await offer.getByRole("alert").filter({ hasText: "“impostor.mov” is another file: it has the same size" }).waitFor();
  await demo.screenshot("refused-light");
  assert.equal(demo.puts.length, before, "parts sent");

  await offer.locator(".choose").setInputFiles(file.path);
  await demo.untilState("completed");
  await assertDownloads(await demo.downloadUrl(), file);
});

test("an unfinished upload can be discarded", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(2);
  await demo.page.reload();
  await demo.page.locator("#offers .discard").click();
  await demo.page.locator("#offers-section").waitFor({ state: "hidden" });
  assert.deepEqual((await service.get("/v1/uploads?state=open")).items, []);
});

test("a file that changes while it is sent fails in plain words", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(2);
  await writeFile(file.path, "something else");
  await demo.untilState("failed");
  assert.match((await demo.card().locator(".message").textContent()) ?? "", /can no longer read this file/);
});

test("a refusal by the service is told in plain words, and can be tried again", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 1 * MB);
  const demo = await openDemo(t, service);
  const problem = { type: "urn:partita:problem:quota-bytes", title: "Quota exceeded", status: 409, code: "quota-bytes", detail: "Only 12 bytes are left." };
  /** @param {Route} route */
  const refuse = (route) =>
    route.request().method() === "POST"
      ? route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify(problem) })
      : route.fallback();
  await demo.page.route("**/v1/uploads", refuse);
  await demo.choose(file);
  await demo.untilState("failed");
  assert.equal(await demo.card().locator(".message").textContent(), "Quota exceeded. Only 12 bytes are left.");
  await demo.screenshot("failed-light");
  await demo.page.unroute("**/v1/uploads", refuse);
  await demo.card().locator(".retry").click();
  await demo.untilState("completed");
});

test("an upload that was given up elsewhere ends in plain words", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(2);
  const { items } = await service.get("/v1/uploads?state=open");
  const response = await fetch(`${service.url}/v1/uploads/${items[0].id}`, { method: "DELETE" });
  assert.equal(response.status, 204);
  await demo.untilState("failed");
  assert.match((await demo.card().locator(".message").textContent()) ?? "", /cancelled elsewhere/);
});

// The client and the page in Firefox: what is promised holds in browsers that have no handles of files on disk, too.
import assert from "node:assert/strict";
import { open, truncate } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertAccessible } from "./support/axe.js";
import { assertDownloads, MB, MIB, randomFile } from "./support/files.js";
import { openFirefox } from "./support/firefox.js";
import { load, loadForm } from "./support/load.js";
import { SETUPS, startZeroSetup } from "./support/service.js";

const COMPLETED = '[data-state="completed"]';
const CORS = { "access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After" };

for (const [setup, start] of Object.entries(SETUPS)) {
  test(`Firefox sends 100 MB in parallel parts and few calls; they arrive intact, their checksum is compared (${setup})`, async (t) => {
    const service = await start(t);
    const file = await randomFile(t, 100 * MB);
    const firefox = await openFirefox(t, service);
    const { line } = firefox;
    line.limitUpload(50 * MB);
    await firefox.choose("#files", file);
    await firefox.until(COMPLETED);

    const url = await firefox.downloadUrl();
    await assertDownloads(url, file);
    const { object, partCount } = await service.get(`/v1/uploads/${new URL(url).pathname.split("/").at(-2)}`);
    assert.equal(object?.size, file.size);
    assert.equal(object?.checksum?.verified, true);
    assert.match(await firefox.text("#uploads .plan"), /checksum compared/);
    assert.equal(partCount, 12);
    await line.assertEachPartStoredOnce(12);
    const { mostAtOnce } = line;
    assert.ok(mostAtOnce >= 3 && mostAtOnce <= 6, `${mostAtOnce} at once`);

    const calls = line.requests.filter(({ url }) => url.origin === service.url && url.pathname.startsWith("/v1/uploads"));
    const changes = calls.filter(({ method }) => method !== "GET").map(({ method, path }) => `${method} ${path.split("/").at(-1)}`);
    const took = line.calls("POST", "/complete")[0].startedAt - line.puts[0].startedAt;
    // Parts are recorded once in three seconds at most, and the last ones are told on completion.
    const records = changes.filter((call) => call === "PUT parts");
    assert.deepEqual(changes.filter((call) => call !== "PUT parts"), ["POST uploads", "POST complete"]);
    t.diagnostic(`${calls.length} calls, ${records.length} of them to record, ${mostAtOnce} parts at once, ${took} ms`);
    assert.ok(records.length <= took / 3000, `${records.length} calls to record`);
    firefox.assertNoComplaints();
  });
}

test("a page reloaded half-way in Firefox offers the upload, refuses another file, and goes on with the same one", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const other = await randomFile(t, 80 * MB, "other.mov");
  const firefox = await openFirefox(t, service);
  const { line, page } = firefox;
  line.limitUpload(20 * MB);
  await firefox.choose("#files", file);
  await line.untilStored(3);
  line.limitUpload(Infinity);
  await page.reload();

  await firefox.choose("#offers .choose", other);
  await page.waitForSelector("#offers .message:not([hidden])");
  assert.match(await firefox.text("#offers .message"), /“other\.mov” is another file: it has the same size/);
  await firefox.choose("#offers .choose", file);
  await firefox.until(COMPLETED);
  assert.equal(line.calls("POST", "/v1/uploads").length, 1, "uploads begun");
  line.assertNothingSentAgain();
  await assertDownloads(await firefox.downloadUrl(), file);
});

test("a killed Firefox, started again, offers the upload, and only what is missing is sent", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const firefox = await openFirefox(t, service);
  const { line } = firefox;
  line.limitUpload(20 * MB);
  await firefox.choose("#files", file);
  await line.untilStored(4);
  await firefox.kill();
  const stored = line.storedParts().size;
  assert.ok(stored < 8, "it was killed half-way");
  const begun = line.puts.length;

  line.limitUpload(Infinity);
  await firefox.start();
  await firefox.page.waitForSelector("#offers > .card");
  assert.match(await firefox.text("#offers .amount"), /begun in this browser/);
  await firefox.choose("#offers .choose", file);
  await firefox.until(COMPLETED);
  assert.equal(line.calls("POST", "/v1/uploads").length, 1, "uploads begun");
  line.assertNothingSentAgain();
  assert.ok(line.puts.length - begun <= 10 - stored, "parts sent");
  await assertDownloads(await firefox.downloadUrl(), file);
});

test("a killed Firefox, started again, goes on by itself with a file that it keeps", async (t) => {
  const service = await startZeroSetup(t);
  const firefox = await openFirefox(t, service);
  const { line } = firefox;
  line.limitUpload(15 * MB);
  await firefox.page.click("#sample");
  await line.untilStored(4);
  await sleep(300); // the handle is written down by and by
  await firefox.kill();
  const stored = line.storedParts().size;
  const begun = line.puts.length;

  line.limitUpload(Infinity);
  await firefox.start();
  await firefox.until(COMPLETED);
  assert.equal(line.calls("POST", "/v1/uploads").length, 1, "uploads begun");
  line.assertNothingSentAgain();
  assert.ok(line.puts.length - begun <= 12 - stored, "parts sent");
  const id = new URL(await firefox.downloadUrl()).pathname.split("/").at(-2);
  const { object } = await service.get(`/v1/uploads/${id}`);
  assert.equal(object?.size, 60 * MIB);
  assert.equal(object?.checksum?.verified, true);
});

test("a second tab of Firefox with the same file watches the first, and both end with the same upload", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 60 * MB);
  const firefox = await openFirefox(t, service);
  const { line, page: first } = firefox;
  const second = await firefox.openPage();
  line.limitUpload(20 * MB);
  await firefox.choose("#files", file, first);
  await line.untilStored(2);
  await firefox.choose("#files", file, second);
  await firefox.until('[data-state="elsewhere"]', second);
  assert.equal(await firefox.text("#uploads .status-text", second), "Sent by another tab");
  for (const page of [first, second]) await firefox.until(COMPLETED, page);

  assert.equal(await firefox.downloadUrl("", second), await firefox.downloadUrl("", first));
  assert.equal(line.calls("POST", "/v1/uploads").length, 1, "uploads begun");
  assert.equal(line.calls("POST", "/complete").length, 1, "completions");
  await line.assertEachPartStoredOnce(8);
  await assertDownloads(await firefox.downloadUrl("", first), file);
});

test("in Firefox a refused URL, a busy S3, a cut connection and a stall are survived", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 6 * 8 * MIB);
  const firefox = await openFirefox(t, service, { path: "/livez" });
  const { line, page } = firefox;
  line.failOnce(1, (_, response) => response.writeHead(403, CORS).end("<Error><Code>AccessDenied</Code></Error>"));
  line.failOnce(2, (_, response) => response.writeHead(503, { ...CORS, "Retry-After": "2" }).end("<Error><Code>SlowDown</Code></Error>"));
  // What is cut before the answer has begun Firefox mostly repeats by itself, and tells nobody.
  line.failOnce(3, (request) => request.once("data", () => request.socket.resetAndDestroy()));
  line.failOnce(4, () => {}); // takes no bytes, and never answers
  line.failOnce(5, async (request, response) => {
    await finished(request.resume());
    response.writeHead(200, { ...CORS, "Content-Length": 9 }).write("cut");
    await sleep(500); // a reset overtakes what has not been read yet
    request.socket.resetAndDestroy();
  });
  await load(page);
  await firefox.choose("#file", file);
  const { id, retries } = await page.evaluate(async () => {
    const upload = window.client.upload(window.chosen(), { stallMs: 4000 });
    await window.follow(upload);
    const { id } = await upload;
    return { id, retries: window.seen.flatMap((event) => (event.type === "retry" ? `${event.partNumber} ${event.error.code}` : [])) };
  });
  assert.deepEqual(retries.filter((retry) => !retry.startsWith("3 ")).sort(), ["2 storage-busy", "4 stalled", "5 storage-unreachable"]);
  assert.ok(line.calls("POST", "/part-urls").length >= 1, "the refused part was signed again");
  /** @param {number} number */
  const tries = (number) => line.puts.filter(({ partNumber }) => partNumber === number);
  assert.deepEqual([1, 2, 3, 4, 5, 6].map((number) => tries(number).length), [2, 2, 2, 2, 2, 1], "tries of each part");
  const [busy, again] = tries(2);
  assert.ok(again.startedAt - (busy.endedAt ?? Infinity) >= 2000, "Retry-After is honoured");
  await line.assertEachPartStoredOnce(6);
  await assertDownloads(`${service.url}/v1/files/${id}/download`, file);
});

test("in Firefox pause stops the bytes, offline waits, both go on, and cancel gives the upload up", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const firefox = await openFirefox(t, service);
  const { line, page } = firefox;
  line.limitUpload(20 * MB);
  await firefox.choose("#files", file);
  await line.untilStored(1);
  /** Sees that nothing is sent now, goes on by this button, and sees that nothing is sent that the page knows to be stored. */
  const goOn = async (/** @type {string} */ button) => {
    await sleep(300); // what is under way ends first
    const before = line.puts.length;
    await sleep(1000);
    assert.equal(line.puts.length, before, "parts begun");
    const known = await page.$$eval("#uploads .cells span", (cells) =>
      cells.flatMap((cell, at) => (cell.classList.contains("stored") ? at + 1 : [])));
    const stored = line.storedParts().size;
    await page.click(button);
    await line.untilStored(stored + 1);
    assert.deepEqual(line.puts.slice(before).filter(({ partNumber }) => known.includes(partNumber)), [], "sent again");
    assert.ok(known.length > 0);
  };

  await page.click("#uploads .pause");
  await firefox.until('[data-state="paused"]');
  await goOn("#uploads .pause");
  await page.click('label:has([value="offline"])');
  await firefox.until('[data-state="offline"]');
  await goOn('label:has([value="real"])');

  const { items } = await service.get("/v1/uploads?state=open");
  assert.equal(items.length, 1);
  await page.click("#uploads .cancel");
  await firefox.until('[data-state="aborted"]');
  assert.match((await service.get(`/v1/uploads/${items[0].id}`)).state, /^abort/);
  await page.reload();
  await page.waitForNetworkIdle();
  assert.equal(await page.$(".card"), null, "what was cancelled is not offered");
});

test("in Firefox, which does not notice by itself, a file that changes while it is sent is never completed, in plain words", async (t) => {
  const service = await startZeroSetup(t);
  const firefox = await openFirefox(t, service);
  const { line, page } = firefox;
  line.limitUpload(30 * MB);
  /** @param {(path: string) => Promise<void>} change once the first part is stored */
  const failure = async (change) => {
    const file = await randomFile(t, 40 * MB);
    await page.reload();
    const begun = line.puts.length;
    await firefox.choose("#files", file);
    while (!line.puts.slice(begun).some(({ partNumber, status }) => partNumber === 1 && status === 200)) await sleep(20);
    await page.click("#uploads .pause");
    await firefox.until('[data-state="paused"]');
    await change(file.path);
    await page.click("#uploads .pause");
    await firefox.until('[data-state="failed"]');
    return firefox.text("#uploads .message");
  };
  const states = async () => (await service.get("/v1/uploads?limit=10")).items.map(({ state }) => state.replace("aborting", "aborted")).sort();

  const rewritten = await failure(async (path) => {
    const file = await open(path, "r+");
    await file.write("a new beginning", 0);
    await file.close();
  });
  assert.match(rewritten, /was changed while it was sent/);
  assert.deepEqual(await states(), ["aborted"], "parts of two contents are of no use");
  const shortened = await failure((path) => truncate(path, 20 * MB));
  assert.match(shortened, /can no longer read this file/);
  assert.deepEqual(await states(), ["aborted", "open"]);
});

test("in Firefox <partita-upload> carries the upload's id in its form, which is not valid before", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 20 * MB);
  const firefox = await openFirefox(t, service, { path: "/livez" });
  const { line, page } = firefox;
  await loadForm(page, "required");
  const form = () =>
    page.evaluate(() => ({ isValid: document.forms[0].checkValidity(), ids: new FormData(document.forms[0]).getAll("attachment") }));
  assert.deepEqual(await form(), { isValid: false, ids: [] });
  line.limitUpload(20 * MB);
  await firefox.choose("partita-upload >>> input", file);
  await line.untilStored(1);
  assert.deepEqual(await form(), { isValid: false, ids: [] });
  await page.waitForFunction(() => document.forms[0].checkValidity());
  const { ids } = await form();
  assert.equal(ids.length, 1);
  await assertDownloads(`${service.url}/v1/files/${ids[0]}/download`, file);
  firefox.assertNoComplaints();
});

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`in Firefox axe finds no violation, and nothing overflows a narrow screen, in Arabic neither (${colorScheme})`, async (t) => {
    const service = await startZeroSetup(t);
    const small = await randomFile(t, 3 * MB, "small.pdf");
    const file = await randomFile(t, 60 * MB, `a-file-name-${"that-goes-on-".repeat(12)}and-ends.tar.zst`);
    const firefox = await openFirefox(t, service, { colorScheme });
    const { line, page } = firefox;
    assert.equal(await page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches), colorScheme === "dark");
    await assertAccessible(page, "empty");
    await firefox.choose("#files", small);
    await firefox.until(COMPLETED);
    line.limitUpload(20 * MB);
    await firefox.choose("#files", file);
    await line.untilStored(3);
    line.limitUpload(1 * MB);
    await firefox.screenshot(`sending-${colorScheme}`);
    for (const language of ["en", "ar"]) {
      await page.select("#language", language);
      for (const width of [1100, 360]) {
        await page.setViewport({ width, height: 860 });
        await sleep(300); // colours change by and by
        await assertAccessible(page, `sending, ${language}, ${width} px`);
        const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(tooWide, 0, `${language}, ${width} px`);
        if (width > 360) continue;
        assert.deepEqual(await page.evaluate(strays), [], `${language}: what does not begin where its card does`);
        await firefox.screenshot(`narrow-${language}-${colorScheme}`);
      }
    }
    assert.equal(await page.evaluate(() => document.documentElement.dir), "rtl");
    firefox.assertNoComplaints();
  });
}

/** The pieces of cards' heads that do not begin where the head does; a name may run the other way. */
const strays = () => {
  const beginning = (/** @type {Element} */ element) => element.getBoundingClientRect()[document.dir === "rtl" ? "right" : "left"];
  return [...document.querySelectorAll("#uploads .card-head")].flatMap((head) =>
    [...head.children].filter((piece) => Math.abs(beginning(piece) - beginning(head)) > 1).map(({ textContent }) => textContent));
};

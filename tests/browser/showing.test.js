// What the page shows off, and what can be done there with files that have arrived.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { openDemo } from "./support/browser.js";
import { assertDownloads, MB, randomFile, temporaryFolder } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";

/** @typedef {import("./support/browser.js").Demo} Demo */

/** @param {Demo} demo @param {string} mode */
const network = ({ page }, mode) => page.check(`input[name="network"][value="${mode}"]`, { force: true });

test("anyone sees in seconds how an upload survives: a sample, a slow network, a reload", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  await network(demo, "slow");
  await demo.page.getByRole("button", { name: "Try a sample" }).click();
  await demo.untilStored(3);
  const stored = new Set(demo.storedParts().keys());
  await demo.page.reload();
  // It is found where the browser keeps it: nothing is asked, and nothing sent again.
  await demo.untilState("sending");
  assert.equal(await demo.page.locator('input[name="network"][value="slow"]').isChecked(), true, "the network is as it was");
  await network(demo, "real");
  await demo.untilState("completed");
  demo.assertNothingSentAgain();
  assert.ok(stored.size >= 3);
});

test("the simulated network is slow, loses parts, and lets nothing through; the upload arrives all the same", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const file = await randomFile(t, 60 * MB);
  await network(demo, "offline");
  await demo.choose(file);
  await demo.untilState("offline");
  await demo.page.waitForTimeout(1000);
  assert.deepEqual(demo.puts, [], "nothing gets through");
  await network(demo, "lossy");
  await demo.page.locator(".cells .retrying, .message").first().waitFor();
  const begun = Date.now();
  await network(demo, "slow");
  await demo.untilStored(1);
  await network(demo, "real");
  await demo.untilState("completed");
  assert.ok(Date.now() > begun);
  await assertDownloads(await demo.downloadUrl(), file);
});

test("folders come with all that is in them, and what is pasted is taken, too", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const folder = await temporaryFolder(t);
  await mkdir(path.join(folder, "album/deep"), { recursive: true });
  for (const name of ["album/1.txt", "album/deep/2.txt"]) await writeFile(path.join(folder, name), name);
  await demo.page.setInputFiles("#folder", path.join(folder, "album"));
  await demo.page.evaluate(() => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File(["pasted"], "pasted.png", { type: "image/png" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  });
  for (const n of [1, 2, 3]) await demo.untilState("completed", n);
  const { items } = await service.get("/v1/uploads?state=completed");
  assert.deepEqual(items.map(({ filename }) => filename).sort(), ["1.txt", "2.txt", "pasted.png"]);
});

test("a file that is there gives a link that works, is shared and no longer, and is deleted by two clicks", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const { page } = demo;
  const file = await randomFile(t, 6 * MB);
  await demo.choose(file);
  await demo.untilState("completed");
  const id = await demo.uploadId();
  const row = page.locator("#stored > li");
  await row.getByRole("button", { name: "Copy link" }).click();
  await row.locator(".link").waitFor();
  await assertDownloads(await row.locator(".link").inputValue(), file);

  const sharedWith = async () => (await service.get("/v1/files?limit=10")).items.find((each) => each.id === id)?.sharedWith;
  await row.getByRole("button", { name: /^Share/ }).first().click();
  await row.getByRole("textbox", { name: "Share with" }).fill("bob");
  await page.keyboard.press("Enter");
  await row.getByRole("button", { name: "Stop sharing with bob" }).waitFor();
  assert.deepEqual(await sharedWith(), ["bob"]);
  await row.getByRole("button", { name: "Stop sharing with bob" }).click();
  await row.getByRole("button", { name: "Stop sharing with bob" }).waitFor({ state: "detached" });
  assert.deepEqual(await sharedWith(), []);

  await row.getByRole("button", { name: /^Delete/ }).click();
  assert.notEqual(await sharedWith(), undefined, "one click deletes nothing");
  await row.getByRole("button", { name: /^Delete for good/ }).click();
  await row.waitFor({ state: "detached" });
  assert.equal(await sharedWith(), undefined);
});

test("each step is shown as a call of the library, as its operation, and as a curl command that works", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const { page } = demo;
  await demo.choose(await randomFile(t, 30 * MB, "it's a film.mov"));
  await demo.untilState("completed");
  await page.locator("details.scenes > summary").click();
  const steps = await page.locator("#steps > li").evaluateAll((items) =>
    items.map((item) => ({
      operation: item.querySelector(".operation")?.textContent ?? "",
      link: item.querySelector(".operation")?.getAttribute("href"),
      library: item.querySelector(".library")?.textContent ?? "",
      curl: item.querySelector(".step-curl")?.textContent ?? "",
    })),
  );
  const document = await (await fetch(`${service.url}/openapi.json`)).json();
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  const calls = steps.filter(({ link }) => link);
  assert.ok(calls.some(({ operation, library }) => operation === "createUpload" && library.includes("client.upload(")), JSON.stringify(calls));
  for (const { operation, link, library, curl } of calls) {
    assert.ok(operations.includes(operation), operation);
    assert.ok(link?.endsWith(`/${operation}`) && library, `${operation} ${link}`);
    const run = await promisify(execFile)("sh", ["-c", `${curl} --silent --output /dev/null --write-out '%{http_code}'`]);
    assert.match(run.stdout, /^(20\d|409)$/, curl);
  }
});

// What a large file costs the page.
import assert from "node:assert/strict";
import { open, readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { openDemo } from "./support/browser.js";
import { MB, MIB, temporaryFolder } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";

const SIZE = 2000 * MB;
const MOST = 200 * MB;

test("a file of 2 GB takes less than 200 MB of memory in the page, and arrives whole", async (t) => {
  const service = await startZeroSetup(t);
  const file = await sparseFile(t, SIZE);
  const demo = await openDemo(t, service);
  const { page } = demo;
  const before = await memoryOfPages(demo);
  await page.setInputFiles("#files", file);
  let most = 0;
  const card = page.locator("#uploads > .card").first();
  const deadline = Date.now() + 480_000;
  for (;;) {
    most = Math.max(most, await memoryOfPages(demo));
    const state = await card.getAttribute("data-state").catch(() => null);
    if (state === "completed") break;
    assert.ok(state !== "failed" && Date.now() < deadline, `${state} after all this time`);
    await page.waitForTimeout(50);
  }
  t.diagnostic(`${Math.round(most / MB)} MB at the most, ${Math.round(before / MB)} MB before`);
  assert.ok(most < MOST, `${most} bytes`);
  // The whole file went through the page's worker: the service has compared its checksum with S3's.
  assert.match((await card.locator(".plan").textContent()) ?? "", /checksum compared/);
});

/**
 * A file that takes little room on the disk: some bytes of each MiB tell where they belong, the others are zero.
 *
 * @param {import("node:test").TestContext} t
 * @param {number} size
 */
async function sparseFile(t, size) {
  const name = path.join(await temporaryFolder(t), "concert.mov");
  const file = await open(name, "w");
  await file.truncate(size);
  for (let at = 0; at + 8 < size; at += MIB) {
    const mark = Buffer.alloc(8);
    mark.writeDoubleLE(at + 1);
    await file.write(mark, 0, 8, at);
  }
  await file.close();
  return name;
}

/**
 * Bytes of memory that the browser's pages, with their workers, have to themselves.
 *
 * @param {import("./support/browser.js").Demo} demo
 */
async function memoryOfPages({ context }) {
  const browser = context.browser();
  assert.ok(browser);
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const pages = processInfo.filter(({ type }) => type === "renderer");
  assert.ok(pages.length > 0, "a page");
  const each = await Promise.all(pages.map(({ id }) => readFile(`/proc/${id}/status`, "utf8").catch(() => "")));
  return Math.max(...each.map((status) => Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024));
}

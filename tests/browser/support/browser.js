import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const ARTIFACTS = path.resolve(import.meta.dirname, "../../../target/test-artifacts");
const QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.PARTITA_TEST_CHROMIUM ?? "/usr/bin/chromium", args: QUIET });
});
after(() => browser?.close());

/** The page of a service in a fresh browser profile, and everything that it does. */
export async function openDemo(t, service, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 860 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const demo = new Demo(context, page, service);
  await page.goto(service.url);
  return demo;
}

class Demo {
  /** What the page complained about. */
  complaints = [];
  /** Every request, in order: `{ method, url, path, partNumber?, startedAt, endedAt?, status?, bodySize }`. */
  requests = [];

  constructor(context, page, service) {
    this.context = context;
    this.page = page;
    this.service = service;
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    const known = new Map();
    page.on("request", (request) => {
      const url = new URL(request.url());
      const partNumber = url.origin === service.s3Url ? Number(url.searchParams.get("partNumber")) : undefined;
      const entry = { method: request.method(), url, path: url.pathname, partNumber, startedAt: Date.now(), bodySize: 0 };
      known.set(request, entry);
      this.requests.push(entry);
    });
    page.on("response", async (response) => {
      const entry = known.get(response.request());
      entry.status = response.status();
      entry.endedAt = Date.now();
      const headers = await response.request().allHeaders().catch(() => ({}));
      entry.bodySize = Number(headers["content-length"] ?? 0);
    });
    page.on("requestfailed", (request) => (known.get(request).endedAt = Date.now()));
  }

  /** The `PUT`s of parts. */
  get puts() {
    return this.requests.filter(({ method, partNumber }) => method === "PUT" && partNumber !== undefined);
  }

  /** The calls to the API whose path ends so. */
  calls(method, ending) {
    return this.requests.filter((each) => each.method === method && each.url.origin === this.service.url && each.path.endsWith(ending));
  }

  /** Limits what Chromium sends, so that there is a half-way. */
  async limitUpload(bytesPerSecond) {
    this.cdp ??= await this.context.newCDPSession(this.page);
    await this.cdp.send("Network.enable");
    await this.cdp.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: bytesPerSecond,
    });
  }

  choose(...files) {
    return this.page.setInputFiles("#files", files.map((file) => file.path));
  }

  /** The card of the n-th upload on the page, from 1. */
  card(n = 1) {
    return this.page.locator(`#uploads > .card:nth-child(${n})`);
  }

  async untilState(state, n = 1) {
    await this.page.waitForSelector(`#uploads > .card:nth-child(${n})[data-state="${state}"]`, { state: "attached" });
  }

  /** Waits until S3 has answered 200 for so many parts. */
  async untilStored(count) {
    const deadline = Date.now() + 60_000;
    while (this.storedParts().size < count) {
      assert.ok(Date.now() < deadline, `only ${this.storedParts().size} parts stored`);
      await this.page.waitForTimeout(20);
    }
  }

  /** How often S3 answered 200, by part number. */
  storedParts() {
    const counts = new Map();
    for (const { partNumber, status } of this.puts) {
      if (status === 200) counts.set(partNumber, (counts.get(partNumber) ?? 0) + 1);
    }
    return counts;
  }

  async assertEachPartStoredOnce(partCount) {
    await this.untilStored(partCount); // the news may come a little later than to the page
    const stored = this.storedParts();
    assert.deepEqual([...stored.keys()].sort((a, b) => a - b), Array.from({ length: partCount }, (_, index) => index + 1));
    assert.deepEqual([...stored].filter(([, count]) => count !== 1), [], "parts that S3 acknowledged more than once");
  }

  /** What S3 has acknowledged stays acknowledged. What it stored just when the line was cut has no answer to count. */
  assertNothingSentAgain() {
    const stored = new Map();
    for (const { partNumber, startedAt, endedAt, status } of this.puts) {
      assert.ok(!(stored.get(partNumber) < startedAt), `part ${partNumber} was sent again after S3 had acknowledged it`);
      if (status === 200) stored.set(partNumber, endedAt);
    }
    assert.deepEqual([...this.storedParts()].filter(([, count]) => count !== 1), [], "parts that S3 acknowledged more than once");
  }

  assertNoComplaints() {
    assert.deepEqual(this.complaints, []);
  }

  downloadUrl(n = 1) {
    return this.card(n).locator(".download").evaluate((link) => link.href);
  }

  uploadId(n = 1) {
    return this.downloadUrl(n).then((url) => new URL(url).pathname.split("/").at(-2));
  }

  /** Saves what a visitor sees now. */
  async screenshot(name, { colorScheme = "light", viewport } = {}) {
    await mkdir(ARTIFACTS, { recursive: true });
    const size = this.page.viewportSize();
    await this.page.emulateMedia({ colorScheme });
    if (viewport) await this.page.setViewportSize(viewport);
    await this.page.waitForTimeout(150);
    await this.page.screenshot({ path: path.join(ARTIFACTS, `demo-${name}.png`), fullPage: true });
    if (viewport) await this.page.setViewportSize(size);
    await this.page.emulateMedia({ colorScheme: "light" });
  }
}

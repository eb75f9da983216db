import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

/** @typedef {import("playwright-core").Browser} Browser */
/** @typedef {import("playwright-core").BrowserContext} BrowserContext */
/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Request} Request */
/** @typedef {import("./files.js").TestFile} TestFile */
/** @typedef {import("./service.js").Service} Service */

/**
 * A request of the page.
 *
 * @typedef {object} SeenRequest
 * @property {string} method
 * @property {URL} url
 * @property {string} path
 * @property {number} [partNumber]
 * @property {number} startedAt
 * @property {number} [endedAt]
 * @property {number} [status]
 * @property {number} bodySize
 * @property {Promise<Record<string, string>>} headers
 */
/** @typedef {SeenRequest & { partNumber: number }} PartRequest */

const ARTIFACTS = path.resolve(import.meta.dirname, "../../../target/test-artifacts");
const QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

const EXECUTABLE = process.env.PARTITA_TEST_CHROMIUM ?? "/usr/bin/chromium";

/** @type {Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** @param {...string} more further arguments */
function launch(...more) {
  return chromium.launch({ executablePath: EXECUTABLE, args: [...QUIET, ...more] });
}

/**
 * A fresh browser profile without a page.
 *
 * @param {import("node:test").TestContext} t
 */
export async function freshProfile(t) {
  const context = await browser.newContext();
  t.after(() => context.close());
  context.setDefaultTimeout(30_000);
  return context;
}

/**
 * The same in a browser of its own, for which names lead where this says.
 *
 * @param {import("node:test").TestContext} t
 * @param {Record<string, string>} addresses by name
 */
export async function profileThatResolves(t, addresses) {
  const rules = Object.entries(addresses).map(([name, address]) => `MAP ${name} ${address}`);
  const own = await launch(`--host-resolver-rules=${rules.join(",")}`);
  t.after(() => own.close());
  const context = await own.newContext();
  context.setDefaultTimeout(30_000);
  return context;
}

/**
 * A browser process that can be killed and started again on the same profile.
 *
 * @param {import("node:test").TestContext} t
 */
export async function killableBrowser(t) {
  const folder = await mkdtemp(path.join(tmpdir(), "partita-profile-"));
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let process_;
  /** SIGKILL to all of its processes: no farewell, nothing is written any more. */
  const kill = async () => {
    if (!process_?.pid || process_.exitCode !== null || process_.signalCode !== null) return;
    const exit = new Promise((resolve) => process_?.once("exit", resolve));
    process.kill(-process_.pid, "SIGKILL");
    await exit;
  };
  t.after(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const start = async () => {
    const args = [...QUIET, `--user-data-dir=${folder}`, "--remote-debugging-port=0", "about:blank"];
    process_ = spawn(EXECUTABLE, args, { detached: true, stdio: ["ignore", "ignore", "pipe"] });
    const { stderr } = process_;
    assert.ok(stderr);
    const url = await new Promise((resolve, reject) => {
      let said = "";
      stderr.on("data", (text) => {
        said += text;
        const found = /DevTools listening on (ws:\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
      process_?.once("exit", () => reject(new Error(`the browser ended by itself:\n${said}`)));
    });
    const browser = await chromium.connectOverCDP(url);
    const [context] = browser.contexts();
    context.setDefaultTimeout(30_000);
    return context;
  };
  return { start, kill };
}

/**
 * The page of a service in a fresh browser profile, and everything that it does.
 *
 * @param {import("node:test").TestContext} t
 * @param {Service} service
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openDemo(t, service, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 860 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const demo = new Demo(context, page, service);
  await page.goto(service.url);
  return demo;
}

export class Demo {
  /** What the page complained about. @type {string[]} */
  complaints = [];
  /** Every request, in order. @type {SeenRequest[]} */
  requests = [];
  /** @type {import("playwright-core").CDPSession | undefined} */
  cdp;

  /**
   * @param {BrowserContext} context
   * @param {Page} page
   * @param {Service} service
   */
  constructor(context, page, service) {
    this.context = context;
    this.page = page;
    this.service = service;
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    /** @type {Map<Request, SeenRequest>} */
    const known = new Map();
    /** @param {Request} request */
    const entryOf = (request) => {
      const entry = known.get(request);
      assert.ok(entry, `${request.url()} ended without having begun`);
      return entry;
    };
    page.on("request", (request) => {
      const url = new URL(request.url());
      const partNumber = url.origin === service.s3Url ? Number(url.searchParams.get("partNumber")) : undefined;
      /** @type {SeenRequest} */
      const entry = {
        method: request.method(), url, path: url.pathname, partNumber, startedAt: Date.now(), bodySize: 0,
        headers: request.allHeaders().catch(() => ({})),
      };
      known.set(request, entry);
      this.requests.push(entry);
    });
    page.on("response", async (response) => {
      const entry = entryOf(response.request());
      entry.status = response.status();
      entry.endedAt = Date.now();
      entry.bodySize = Number((await entry.headers)["content-length"] ?? 0);
    });
    page.on("requestfailed", (request) => (entryOf(request).endedAt = Date.now()));
  }

  /** The `PUT`s of parts. */
  get puts() {
    /** @type {(each: SeenRequest) => each is PartRequest} */
    const isPut = (each) => each.method === "PUT" && each.partNumber !== undefined;
    return this.requests.filter(isPut);
  }

  /**
   * The calls to the API whose path ends so.
   *
   * @param {string} method
   * @param {string} ending
   */
  calls(method, ending) {
    return this.requests.filter((each) => each.method === method && each.url.origin === this.service.url && each.path.endsWith(ending));
  }

  /**
   * Limits what Chromium sends, so that there is a half-way.
   *
   * @param {number} bytesPerSecond
   */
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

  /** @param {...TestFile} files */
  choose(...files) {
    return this.page.setInputFiles("#files", files.map((file) => file.path));
  }

  /** The card of the n-th upload on the page, from 1. */
  card(n = 1) {
    return this.page.locator(`#uploads > .card:nth-child(${n})`);
  }

  /**
   * @param {string} state
   * @param {number} [n] of which upload on the page
   */
  async untilState(state, n = 1) {
    await this.page.waitForSelector(`#uploads > .card:nth-child(${n})[data-state="${state}"]`, { state: "attached" });
  }

  /**
   * Waits until S3 has answered 200 for so many parts.
   *
   * @param {number} count
   */
  async untilStored(count) {
    const deadline = Date.now() + 60_000;
    while (this.storedParts().size < count) {
      assert.ok(Date.now() < deadline, `only ${this.storedParts().size} parts stored`);
      await this.page.waitForTimeout(20);
    }
  }

  /** How often S3 answered 200, by part number. */
  storedParts() {
    /** @type {Map<number, number>} */
    const counts = new Map();
    for (const { partNumber, status } of this.puts) {
      if (status === 200) counts.set(partNumber, (counts.get(partNumber) ?? 0) + 1);
    }
    return counts;
  }

  /** @param {number} partCount */
  async assertEachPartStoredOnce(partCount) {
    await this.untilStored(partCount); // the news may come a little later than to the page
    const stored = this.storedParts();
    assert.deepEqual([...stored.keys()].sort((a, b) => a - b), Array.from({ length: partCount }, (_, index) => index + 1));
    assert.deepEqual([...stored].filter(([, count]) => count !== 1), [], "parts that S3 acknowledged more than once");
  }

  /** What S3 has acknowledged stays acknowledged. What it stored just when the line was cut has no answer to count. */
  assertNothingSentAgain() {
    /** When S3 acknowledged each part. @type {Map<number, number>} */
    const stored = new Map();
    for (const { partNumber, startedAt, endedAt, status } of this.puts) {
      assert.ok(!((stored.get(partNumber) ?? Infinity) < startedAt), `part ${partNumber} was sent again after S3 had acknowledged it`);
      if (status === 200) stored.set(partNumber, endedAt ?? Infinity);
    }
    assert.deepEqual([...this.storedParts()].filter(([, count]) => count !== 1), [], "parts that S3 acknowledged more than once");
  }

  assertNoComplaints() {
    assert.deepEqual(this.complaints, []);
  }

  downloadUrl(n = 1) {
    return this.card(n).locator(".download").evaluate((/** @type {HTMLAnchorElement} */ link) => link.href);
  }

  uploadId(n = 1) {
    return this.downloadUrl(n).then((url) => new URL(url).pathname.split("/").at(-2));
  }

  /**
   * Saves what a visitor sees now.
   *
   * @param {string} name
   * @param {{ colorScheme?: "light" | "dark", viewport?: import("playwright-core").ViewportSize }} [options]
   */
  async screenshot(name, { colorScheme = "light", viewport } = {}) {
    await mkdir(ARTIFACTS, { recursive: true });
    const size = this.page.viewportSize();
    assert.ok(size);
    await this.page.emulateMedia({ colorScheme });
    if (viewport) await this.page.setViewportSize(viewport);
    await this.page.waitForTimeout(150);
    await this.page.screenshot({ path: path.join(ARTIFACTS, `demo-${name}.png`), fullPage: true });
    if (viewport) await this.page.setViewportSize(size);
    await this.page.emulateMedia({ colorScheme: "light" });
  }
}

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { ARTIFACTS } from "./environment.js";
import { Traffic } from "./traffic.js";

/** @typedef {import("playwright-core").Browser} Browser */
/** @typedef {import("playwright-core").BrowserContext} BrowserContext */
/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Request} Request */
/** @typedef {import("./files.js").TestFile} TestFile */
/** @typedef {import("./service.js").Service} Service */
/** @typedef {import("./traffic.js").SeenRequest} SeenRequest */

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

export class Demo extends Traffic {
  /** What the page complained about. @type {string[]} */
  complaints = [];
  /** @type {import("playwright-core").CDPSession | undefined} */
  #cdp;

  /**
   * @param {BrowserContext} context
   * @param {Page} page
   * @param {Service} service
   */
  constructor(context, page, service) {
    super(service);
    this.context = context;
    this.page = page;
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
      entry.bodySize = Number((await entry.headers)?.["content-length"] ?? 0);
    });
    page.on("requestfailed", (request) => (entryOf(request).endedAt = Date.now()));
  }

  /**
   * Limits what Chromium sends, so that there is a half-way.
   *
   * @param {number} bytesPerSecond
   */
  async limitUpload(bytesPerSecond) {
    this.#cdp ??= await this.context.newCDPSession(this.page);
    await this.#cdp.send("Network.enable");
    await this.#cdp.send("Network.emulateNetworkConditions", {
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

// @ts-check
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { Line } from "./line.js";

/** @typedef {import("./line.js").Network} Network */
/** @typedef {import("./servers.js").Coordinator} Coordinator */
/** @typedef {import("../../tests/browser/support/files.js").TestFile} TestFile */

const QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** An upload that takes longer than this is told as one that does not end. */
const PATIENCE_MS = 120_000;
/** What a URL lives where nothing else is said: Companion's own default, which is nearly Partita's (900). */
export const URL_LIFE_SECONDS = 800;

/** One client: its browser, its coordinator, and the line from the one to the other and to S3. */
export class Side {
  /** @type {import("playwright-core").Browser | undefined} */
  browser;

  /**
   * @param {object} what
   * @param {"partita" | "uppy"} what.name
   * @param {Coordinator} what.coordinator
   * @param {import("./servers.js").Store} what.store
   * @param {import("./objects.js").Objects} what.objects
   * @param {string} what.origin
   * @param {string} what.prefix of its objects' keys
   * @param {Network} network
   */
  constructor({ name, coordinator, store, objects, origin, prefix }, network) {
    this.name = name;
    this.coordinator = coordinator;
    this.store = store;
    this.objects = objects;
    this.origin = origin;
    this.prefix = prefix;
    this.toS3 = new Line(store.port, network);
    this.toCoordinator = new Line(coordinator.port, network);
  }

  async start() {
    const ways = [
      [this.store.port, await this.toS3.open()],
      [this.coordinator.port, await this.toCoordinator.open()],
    ];
    // For the browser alone: the coordinators reach S3 directly, as they do where they run.
    const rules = ways.map(([port, line]) => `MAP 127.0.0.1:${port} 127.0.0.1:${line}`).join(",");
    this.browser = await chromium.launch({
      executablePath: process.env.PARTITA_TEST_CHROMIUM ?? "/usr/bin/chromium",
      args: [...QUIET, `--host-resolver-rules=${rules}`],
    });
    await this.coordinator.start({ urlLifeSeconds: URL_LIFE_SECONDS });
  }

  async stop() {
    await this.browser?.close();
    this.toS3.close();
    this.toCoordinator.close();
    await this.coordinator.kill();
  }

  /**
   * The coordinator again, with URLs that live so long.
   *
   * @param {number} urlLifeSeconds
   */
  async restart(urlLifeSeconds) {
    await this.coordinator.kill();
    await this.coordinator.start({ urlLifeSeconds });
  }

  /**
   * A page in a fresh profile, with the file chosen, and lines that count from nothing.
   *
   * @param {TestFile} file
   * @param {Network} network
   * @param {{ partSize?: number, retriever?: boolean }} [options]
   */
  async open(file, network, { partSize, retriever } = {}) {
    if (!this.browser) throw new Error("not started");
    await this.objects.take(this.prefix);
    this.toS3.reset(network);
    this.toCoordinator.reset(network);
    const context = await this.browser.newContext();
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    page.on("pageerror", (error) => console.log(`    ${this.name}: ${error.message}`));
    const query = new URLSearchParams({ endpoint: this.coordinator.url });
    if (partSize) query.set("partSize", String(partSize));
    if (retriever) query.set("retriever", "");
    const run = new Run(this, context, page, file);
    await page.goto(`${this.origin}/${this.name}.html?${query}`);
    await page.evaluate(() => window.isReady);
    await run.choose();
    return run;
  }

  /** How many objects of this client are in the bucket, and whether it is the one file. @param {TestFile} file */
  async arrived(file) {
    const sums = await this.objects.take(this.prefix);
    return sums.length === 0 ? "no object" : sums.length === 1 && sums[0] === file.sha256 ? "intact" : "not the file";
  }
}

/** One upload in one page. */
export class Run {
  #begun = 0;

  /**
   * @param {Side} side
   * @param {import("playwright-core").BrowserContext} context
   * @param {import("playwright-core").Page} page
   * @param {TestFile} file
   */
  constructor(side, context, page, file) {
    this.side = side;
    this.context = context;
    this.page = page;
    this.file = file;
  }

  close() {
    return this.context.close();
  }

  /** The visitor chooses the file. */
  async choose() {
    await this.page.setInputFiles("#file", this.file.path);
  }

  /** The visitor drops the file on the page. */
  async drop() {
    const cdp = await this.context.newCDPSession(this.page);
    const data = { items: [], files: [this.file.path], dragOperationsMask: 1 };
    for (const type of /** @type {const} */ (["dragEnter", "dragOver", "drop"])) {
      await cdp.send("Input.dispatchDragEvent", { type, x: 50, y: 50, data });
    }
  }

  async begin() {
    this.#begun = performance.now();
    await this.page.evaluate(() => window.begin());
  }

  get seconds() {
    return (performance.now() - this.#begun) / 1000;
  }

  /** Waits until so much of the file has gone. @param {number} share */
  async until(share) {
    while (this.side.toS3.bytes < share * this.file.size) {
      if (await this.outcome()) return;
      await sleep(10);
    }
  }

  /** How it ended; nothing yet, if it did not. @returns {Promise<string | undefined>} */
  outcome() {
    return this.page.evaluate(() => window.outcome);
  }

  /** @returns {Promise<string>} */
  async end() {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const outcome = await this.outcome();
      if (outcome) return outcome;
      if (performance.now() > deadline) return "does not end";
      await sleep(20);
    }
  }

  /**
   * The end; if the client gave up, the visitor asks it to try again, once.
   *
   * @returns {Promise<{ byItself: boolean, first: string, last: string }>}
   */
  async endOrRetry() {
    const first = await this.end();
    if (first === "completed") return { byItself: true, first, last: first };
    await this.page.evaluate(() => window.retry());
    return { byItself: false, first, last: await this.end() };
  }

  /** MiB that went to S3 beyond the file itself. */
  get sentAgain() {
    return (this.side.toS3.bytes - this.file.size) / 2 ** 20;
  }

  /** Calls to the coordinator, without what the browser asks by itself before them. */
  get calls() {
    const { OPTIONS: _, ...calls } = this.side.toCoordinator.requests;
    return Object.values(calls).reduce((sum, count) => sum + count, 0);
  }
}

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import puppeteer from "puppeteer-core";
import { ARTIFACTS } from "./environment.js";
import { startLine } from "./line.js";

/** @typedef {import("puppeteer-core").Page} Page */

const EXECUTABLE = process.env.PARTITA_TEST_FIREFOX ?? "/usr/bin/firefox-esr";
const TIMEOUT_MS = 60_000;

/**
 * A Firefox with a profile and a line of its own, at a page of the service.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("./service.js").Service} service
 * @param {{ colorScheme?: "light" | "dark", path?: string }} [options]
 */
export async function openFirefox(t, service, { colorScheme = "light", path: place = "/" } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "partita-profile-"));
  const line = await startLine(t, service);
  const firefox = new Firefox(service.url + place, line, folder, {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": line.port,
    "network.proxy.allow_hijacking_localhost": true,
    "layout.css.prefers-color-scheme.content-override": colorScheme === "dark" ? 0 : 1,
  });
  t.after(async () => {
    await firefox.end();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  await firefox.start();
  return firefox;
}

/** One process on one profile, driven by WebDriver BiDi, which can be killed and started again. */
class Firefox {
  /** What its pages complained about. @type {string[]} */
  complaints = [];
  /** @type {import("puppeteer-core").Browser | undefined} */
  #browser;
  /** The page opened last. @type {Page | undefined} */
  #page;
  #folder;
  #settings;

  /**
   * @param {string} url of its first page
   * @param {import("./line.js").Line} line
   * @param {string} folder of the profile
   * @param {Record<string, unknown>} settings
   */
  constructor(url, line, folder, settings) {
    this.url = url;
    this.line = line;
    this.#folder = folder;
    this.#settings = settings;
  }

  /** @returns {Page} */
  get page() {
    assert.ok(this.#page);
    return this.#page;
  }

  async start() {
    this.#browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: EXECUTABLE,
      protocol: "webDriverBiDi",
      headless: true,
      userDataDir: this.#folder,
      extraPrefsFirefox: this.#settings,
      defaultViewport: { width: 1100, height: 860 },
    });
    await this.openPage();
  }

  /** A further tab. */
  async openPage() {
    assert.ok(this.#browser);
    const page = (this.#page = await this.#browser.newPage());
    page.setDefaultTimeout(TIMEOUT_MS);
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    // Firefox tells of these on its own console alone.
    await page.evaluateOnNewDocument(() =>
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => console.error(`${violatedDirective} forbids ${blockedURI}`)));
    await page.goto(this.url);
    return page;
  }

  /** SIGKILL to all of its processes: no farewell, nothing is written any more. */
  async kill() {
    const child = this.#browser?.process();
    assert.ok(child?.pid);
    const exit = new Promise((resolve) => child.once("exit", resolve));
    process.kill(-child.pid, "SIGKILL");
    await exit;
    this.#browser = undefined;
  }

  async end() {
    await this.#browser?.close();
  }

  /**
   * @param {string} selector of an input for files
   * @param {import("./files.js").TestFile} file
   * @param {Page} [page]
   */
  async choose(selector, file, page = this.page) {
    const input = await page.waitForSelector(selector);
    await /** @type {import("puppeteer-core").ElementHandle<HTMLInputElement>} */ (input).uploadFile(file.path);
  }

  /**
   * Waits for a card on the page, for example in a state.
   *
   * @param {string} card such as `[data-state="completed"]`
   * @param {Page} [page]
   */
  async until(card, page = this.page) {
    await page.waitForSelector(`#uploads > .card${card}`);
  }

  /**
   * @param {string} selector
   * @param {Page} [page]
   */
  text(selector, page = this.page) {
    return page.$eval(selector, (element) => element.textContent ?? "");
  }

  /**
   * The address of the file that a completed card leads to.
   *
   * @param {string} [card]
   * @param {Page} [page]
   */
  downloadUrl(card = "", page = this.page) {
    return page.$eval(`#uploads > .card${card} .download`, (link) => /** @type {HTMLAnchorElement} */ (link).href);
  }

  assertNoComplaints() {
    assert.deepEqual(this.complaints, []);
  }

  /**
   * Saves what a visitor sees now.
   *
   * @param {string} name
   */
  async screenshot(name) {
    await mkdir(ARTIFACTS, { recursive: true });
    await this.page.screenshot({ path: path.join(ARTIFACTS, `firefox-${name}.png`), fullPage: true });
  }
}

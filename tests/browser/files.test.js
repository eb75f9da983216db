import assert from "node:assert/strict";
import { test } from "node:test";
import { freshProfile } from "./support/browser.js";
import { required } from "./support/environment.js";
import { PIXEL, uploaded } from "./support/files.js";
import { startOnSeaweedFS, startZeroSetup } from "./support/service.js";
import { startCounter, startSite } from "./support/sites.js";

/** @typedef {import("playwright-core").BrowserContext} BrowserContext */
/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("./support/service.js").Service} Service */

test("an image by a cacheable link is fetched from the store once, and then comes from the browser's cache", async (t) => {
  // Pages fetch files at this address, the store itself is behind it.
  const store = await startCounter(t, required("PARTITA_TEST_SEAWEEDFS"));
  // The longest window, so that none ends within the test.
  const service = await startOnSeaweedFS(t, { PARTITA_S3_PUBLIC_ENDPOINT: store.url, PARTITA_CACHEABLE_WINDOW: "6d" });
  const id = await uploaded(service, { filename: "pixel.png", contentType: "image/png", body: PIXEL });
  // An application, which asks for a new link whenever its page is opened.
  const application = await startSite(t, async (path) => {
    if (!path.includes("?")) return { type: "text/plain", body: "" };
    const link = await fetch(`${service.url}/v1/files/${id}/download-url${path.slice(path.indexOf("?"))}`);
    const { url } = await link.json();
    return { type: "text/html", body: `<!doctype html><img src="${url.replaceAll("&", "&amp;")}">` };
  });
  const profile = await freshProfile(t);
  /** @param {string} query */
  const open = async (query) => {
    const page = await profile.newPage();
    const cdp = await profile.newCDPSession(page);
    await cdp.send("Network.enable");
    let fromCache = false;
    cdp.on("Network.responseReceived", ({ type, response }) => {
      if (type === "Image") fromCache = response.fromDiskCache === true;
    });
    // The cache in front of that one, of what was just decoded.
    cdp.on("Network.requestServedFromCache", () => (fromCache = true));
    await page.goto(`http://127.0.0.1:${application.port}/?${query}`);
    const image = page.locator("img");
    const width = await image.evaluate((/** @type {HTMLImageElement} */ img) => img.naturalWidth);
    assert.equal(width, 1, "the image is shown");
    const src = await image.getAttribute("src");
    await page.close();
    return { src, fromCache };
  };
  const gets = () => store.asked.filter(({ method }) => method === "GET").length;

  const first = await open("cacheable=true&disposition=inline");
  assert.equal(first.fromCache, false);
  assert.equal(gets(), 1);
  const second = await open("cacheable=true&disposition=inline");
  assert.equal(second.src, first.src, "the link is the same");
  assert.equal(gets(), 1, "the store was not asked again");
  assert.equal(second.fromCache, true);

  await t.test("by a link that is not cacheable it is fetched each time", async () => {
    await open("disposition=inline");
    // Another second, another signature.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await open("disposition=inline");
    assert.equal(gets(), 3);
  });
});

/** What a hostile file would do where it may: leave a mark in the browser, and call the service as if it were its page. */
const ATTACK = `
  document.cookie = "owned=1; path=/";
  localStorage.setItem("owned", "1");
  fetch("/v1/uploads", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ filename: "owned", size: 1 }),
  });
`;
const HTML = `<!doctype html><title>hostile</title><script>${ATTACK}</script><img src="/livez" onerror='${ATTACK}'>`;
const SVG =
  `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload='${ATTACK.replaceAll("&", "&amp;")}'>` +
  `<script><![CDATA[${ATTACK}]]></script></svg>`;
const XHTML = `<html xmlns="http://www.w3.org/1999/xhtml"><body><script><![CDATA[${ATTACK}]]></script></body></html>`;

/** The kinds that run script, and what is taken for one of them by a browser that guesses. @type {[string, string, string][]} */
const HOSTILE = [
  ["page.html", "text/html", HTML],
  ["page.html", "text/html; charset=utf-8", HTML],
  ["page.HTML", "TEXT/HTML", HTML],
  ["page.xhtml", "application/xhtml+xml", XHTML],
  ["page.xml", "text/xml", XHTML],
  ["drawing.svg", "image/svg+xml", SVG],
  ["page.html", "text/plain", HTML],
  ["page.html", "image/png", HTML],
  ["page.html", "application/octet-stream", HTML],
  ["page.html", "x-unknown/x-unknown", HTML],
  ["page.mht", "multipart/related", HTML],
];

test("the attack of these tests does what they look for, where nothing is done against it", async (t) => {
  for (const [type, body] of [["text/html", HTML], ["image/svg+xml", SVG], ["application/xhtml+xml", XHTML]]) {
    const site = await startSite(t, () => ({ type, body }));
    const profile = await freshProfile(t);
    const page = await profile.newPage();
    await page.goto(`http://127.0.0.1:${site.port}/`);
    const called = () => site.asked.some(({ method, path }) => method === "POST" && path === "/v1/uploads");
    for (let tries = 0; tries < 100 && !called(); tries++) await page.waitForTimeout(100);
    assert.ok(called(), type);
    assert.equal((await profile.cookies()).length, 1, type);
  }
});

test("a hostile file runs no script from the service's origin, however it is opened", async (t) => {
  // Without auth there is nothing that a script of this origin could not do.
  const service = await startZeroSetup(t);
  const files = [];
  for (const [filename, contentType, body] of HOSTILE) {
    files.push({ id: await uploaded(service, { filename, contentType, body }), name: `${filename} as ${contentType}` });
  }
  const before = await service.get("/v1/uploads?limit=1000");

  const site = await startSite(t, () => ({ type: "text/html", body: "<!doctype html><title>another origin</title>" }));
  for (const { id, name } of files) {
    await t.test(name, async (t) => {
      const link = await service.get(`/v1/files/${id}/download-url?disposition=inline`);
      const urls = [`content`, `content?disposition=inline`, `content?disposition=attachment`, `download`]
        .map((path) => `${service.url}/v1/files/${id}/${path}`)
        .concat(link.url);
      const profile = await freshProfile(t);
      await Promise.all([
        ...urls.map((url) => visit(profile, url)),
        // A page of the service's own origin, without a policy of its own that would keep frames out.
        embed(profile, `${service.url}/livez`, urls),
        embed(profile, `http://127.0.0.1:${site.port}/`, urls),
      ]);
      await assertUnharmed(profile, service, before.items.length);
    });
  }
});

/**
 * Opens this URL as a page of its own.
 *
 * @param {BrowserContext} profile
 * @param {string} url
 */
async function visit(profile, url) {
  const page = await profile.newPage();
  // What is saved is no page, and that is an error to the one who waits for one.
  await page.goto(url).catch((error) => assert.match(String(error), /ERR_ABORTED|Download is starting/));
  await settled(page);
  await page.close();
}

/**
 * Shows these URLs within a page, in every kind of element that can.
 *
 * @param {BrowserContext} profile
 * @param {string} address
 * @param {string[]} urls
 */
async function embed(profile, address, urls) {
  const page = await profile.newPage();
  await page.goto(address);
  await page.evaluate((urls) => {
    for (const url of urls) {
      const [iframe, object, embed, image] = ["iframe", "object", "embed", "img"].map((name) => document.createElement(name));
      Object.assign(iframe, { src: url });
      Object.assign(object, { data: url });
      Object.assign(embed, { src: url });
      Object.assign(image, { src: url });
      document.body.append(iframe, object, embed, image);
    }
  }, urls);
  await settled(page);
  await page.close();
}

/**
 * Waits until the page has got what it asked for, and what ran in it has asked for what it wanted.
 *
 * @param {Page} page
 */
async function settled(page) {
  await page.waitForLoadState("networkidle");
}

/**
 * No script of a file has left a mark in the browser or at the service.
 *
 * @param {BrowserContext} profile
 * @param {Service} service
 * @param {number} uploads
 */
async function assertUnharmed(profile, service, uploads) {
  assert.deepEqual(await profile.cookies(), []);
  const page = await profile.newPage();
  await page.goto(`${service.url}/livez`);
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
  await page.close();
  const { items } = await service.get("/v1/uploads?limit=1000");
  assert.deepEqual(items.filter(({ filename }) => filename === "owned"), []);
  assert.equal(items.length, uploads);
}

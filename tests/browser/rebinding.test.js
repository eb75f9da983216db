import assert from "node:assert/strict";
import { test } from "node:test";
import { profileThatResolves } from "./support/browser.js";
import { PIXEL, uploaded } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";
import { startRebinding, startSite } from "./support/sites.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("./support/service.js").Service} Service */

const PAGE = "<!doctype html><title>evil</title>";

// A service on a machine where nobody is asked who they are, and a browser on the same machine, on a page of a site whose name its
// owner makes lead to this machine.

test("a page whose name leads to this machine neither reads nor changes anything of a service without auth", async (t) => {
  const service = await startZeroSetup(t);
  const file = await anUploadAndAFile(service);
  const site = await startSite(t, () => ({ type: "text/html", body: PAGE }));
  const profile = await profileThatResolves(t, { "evil.example": "127.0.0.1" });
  const page = await profile.newPage();
  await page.goto(`http://evil.example:${site.port}/`);
  const { port } = new URL(service.url);

  await t.test("by that name every request is refused", async () => {
    await assertRefused(page, service, `http://evil.example:${port}`, file);
  });
  for (const name of ["127.0.0.1", "localhost"]) {
    await t.test(`by ${name} it is another origin, which can read nothing and change nothing`, async () => {
      const { before, seen } = await attacked(page, service, `http://${name}:${port}`, file);
      // A plain image of another origin may be shown, as on any site; no script sees what is in it.
      assert.deepEqual(seen.filter((what) => what !== "img"), []);
      assert.deepEqual(await inventory(service), before);
    });
  }
});

test("a page that is rebound to the service's own address and port neither reads nor changes anything", async (t) => {
  const service = await startZeroSetup(t);
  const file = await anUploadAndAFile(service);
  const port = Number(new URL(service.url).port);
  const name = await startRebinding(t, { address: "127.0.0.2", port, html: PAGE });
  const profile = await profileThatResolves(t, { "evil.example": "127.0.0.2" });
  const page = await profile.newPage();
  await page.goto(`http://evil.example:${port}/`);
  assert.equal(await page.title(), "evil");
  name.rebind();
  // To the browser the service is now of the page's own origin.
  await assertRefused(page, service, `http://evil.example:${port}`, file);

  await t.test("nor does a page that is opened by that name", async () => {
    for (const path of ["/", "/docs", "/v1/uploads", "/v1/files", `/v1/files/${file}/content`]) {
      const response = await page.goto(`http://evil.example:${port}${path}`);
      assert.equal(response?.status(), 403, path);
    }
  });
});

test("what these tests try is seen by them where the page is the service's own", async (t) => {
  const service = await startZeroSetup(t);
  const file = await anUploadAndAFile(service);
  const profile = await profileThatResolves(t, {});
  const page = await profile.newPage();
  await page.goto(`${service.url}/livez`);
  const { before, seen } = await attacked(page, service, service.url, file);
  const calls = ["GET /v1/uploads", "GET /v1/files", "GET bytes", "POST /v1/uploads", "DELETE upload", "DELETE file"];
  const others = ["no-cors GET", "no-cors POST", "no-cors complete", "frame", "img"];
  assert.deepEqual(seen.sort(), [...calls, ...others].sort());
  assert.notDeepEqual(await inventory(service), before);
});

/**
 * Something to be read, and an upload to be spoilt.
 *
 * @param {Service} service
 */
async function anUploadAndAFile(service) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ filename: "open.bin", size: 1 });
  assert.equal((await fetch(`${service.url}/v1/uploads`, { method: "POST", headers, body })).status, 201);
  return uploaded(service, { filename: "secret.png", contentType: "image/png", body: PIXEL });
}

/**
 * Everything that the service has.
 *
 * @param {Service} service
 */
async function inventory(service) {
  return { uploads: await service.get("/v1/uploads?limit=1000"), files: await service.get("/v1/files?limit=1000") };
}

/**
 * No request of the page was served, and nothing has changed.
 *
 * @param {Page} page
 * @param {Service} service
 * @param {string} base
 * @param {string} file
 */
async function assertRefused(page, service, base, file) {
  // Below what a page is told: of an answer that it may not read it is told nothing, not even that there was one.
  const cdp = await page.context().newCDPSession(page);
  /** @type {Map<string, string>} */
  const asked = new Map();
  /** @type {[string, number][]} */
  const answers = [];
  cdp.on("Network.requestWillBeSent", ({ requestId, request }) => asked.set(requestId, `${request.method} ${request.url}`));
  cdp.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode }) => answers.push([requestId, statusCode]));
  await cdp.send("Network.enable");
  const { before, seen } = await attacked(page, service, base, file);
  await cdp.detach();
  assert.deepEqual(seen, []);
  // The page's own icon comes from its own site, whenever that is.
  const ours = answers.filter(([id]) => asked.get(id)?.includes(` ${base}/`)).map(([id, status]) => [asked.get(id), status]);
  assert.ok(ours.length >= 12, `${ours.length} answers`);
  assert.deepEqual(ours.filter(([, status]) => status !== 403), []);
  assert.deepEqual(await inventory(service), before);
}

/**
 * Tries what a page can, by this address of the service; tells what it got to see.
 *
 * @param {Page} page
 * @param {Service} service
 * @param {string} base
 * @param {string} file
 */
async function attacked(page, service, base, file) {
  const before = await inventory(service);
  const upload = before.uploads.items.find(({ state }) => state === "open")?.id;
  assert.ok(upload);
  const seen = await page.evaluate(
    async ({ base, upload, file }) => {
      /** @type {string[]} */
      const seen = [];
      /**
       * @param {string} what
       * @param {string} path
       * @param {RequestInit} [options]
       */
      const read = async (what, path, options) => {
        const response = await fetch(base + path, options).catch(() => undefined);
        // An opaque answer has neither a status nor a text.
        if (response?.ok || (response && response.status !== 403 && (await response.text()))) seen.push(what);
      };
      /**
       * Waits for one of two events, or until it is plain that neither comes.
       *
       * @param {string} what
       * @param {EventTarget} target
       * @param {string} good
       */
      const event = (what, target, good) =>
        Promise.race([
          new Promise((resolve) => target.addEventListener(good, () => resolve(seen.push(what)))),
          new Promise((resolve) => target.addEventListener("error", resolve)),
          new Promise((resolve) => setTimeout(resolve, 3_000)),
        ]);
      const json = { "Content-Type": "application/json" };
      const owned = JSON.stringify({ filename: "owned", size: 1 });

      await read("GET /v1/uploads", "/v1/uploads");
      await read("GET /v1/files", "/v1/files");
      await read("GET bytes", `/v1/files/${file}/content`);
      await read("POST /v1/uploads", "/v1/uploads", { method: "POST", headers: json, body: owned });
      // Without a question beforehand: these are sent, and the answer is kept from the page.
      await read("no-cors GET", "/v1/uploads", { mode: "no-cors" });
      await read("no-cors POST", "/v1/uploads", { mode: "no-cors", method: "POST", body: owned });
      await read("no-cors complete", `/v1/uploads/${upload}/complete`, { mode: "no-cors", method: "POST" });
      navigator.sendBeacon(`${base}/v1/uploads`, new Blob([owned], { type: "text/plain" }));

      // A form whose body is JSON, but for its type.
      const target = Object.assign(document.createElement("iframe"), { name: "answer" });
      const form = document.createElement("form");
      Object.assign(form, { action: `${base}/v1/uploads`, method: "POST", enctype: "text/plain", target: "answer" });
      const field = Object.assign(document.createElement("input"), { name: '{"filename":"owned","size":1,"contentType":"a/', value: '"}' });
      form.append(field);
      document.body.append(target, form);
      const answered = new Promise((resolve) => target.addEventListener("load", resolve));
      form.submit();
      await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, 3_000))]);

      const frame = Object.assign(document.createElement("iframe"), { src: `${base}/v1/uploads` });
      const shown = new Promise((resolve) => frame.addEventListener("load", resolve));
      document.body.append(frame);
      await Promise.race([shown, new Promise((resolve) => setTimeout(resolve, 3_000))]);
      try {
        if (frame.contentDocument?.body.textContent?.includes(upload)) seen.push("frame");
      } catch {
        // Of another origin: nothing can be seen.
      }

      const image = new Image();
      const loaded = event("img", image, "load");
      image.src = `${base}/v1/files/${file}/content?disposition=inline`;
      await loaded;
      if (image.naturalWidth > 0) {
        const canvas = document.createElement("canvas");
        canvas.getContext("2d")?.drawImage(image, 0, 0);
        try {
          canvas.toDataURL();
          if (new URL(base).origin !== location.origin) seen.push("pixels");
        } catch {
          // Of another origin: it may be shown, and not be looked at.
        }
      }

      const events = new EventSource(`${base}/v1/uploads`);
      await event("EventSource", events, "open");
      events.close();
      const script = Object.assign(document.createElement("script"), { src: `${base}/v1/files` });
      const run = event("script", script, "load");
      document.body.append(script);
      await run;

      // Last, for there is nothing to be seen after it.
      await read("DELETE upload", `/v1/uploads/${upload}`, { method: "DELETE" });
      await read("DELETE file", `/v1/files/${file}`, { method: "DELETE" });
      return seen;
    },
    { base, upload, file },
  );
  return { before, seen };
}

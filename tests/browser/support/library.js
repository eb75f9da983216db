// The client in a browser, on a page that has nothing else.
import { Demo, freshProfile } from "./browser.js";

/** @typedef {import("../../../web-demo/client/index.js")} Client */

/**
 * A page of the service's origin in a profile, with an input for files and the client's module as `client`.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("./service.js").Service} service
 * @param {import("playwright-core").BrowserContext} [profile]
 */
export async function openLibrary(t, service, profile) {
  const context = profile ?? (await freshProfile(t));
  const page = await context.newPage();
  const demo = new Demo(context, page, service);
  await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 })); // browsers ask for it unasked
  await page.goto(`${service.url}/livez`);
  await load(page);
  return demo;
}

/**
 * What the page needs after each (re)load.
 *
 * @param {import("playwright-core").Page} page
 */
export async function load(page) {
  await page.evaluate(async () => {
    document.body.innerHTML = '<input type="file" id="file">';
    const path = "/client/index.js"; // not to be looked for by the type-check
    window.client = await import(path);
    window.chosen = () => {
      const { files } = /** @type {HTMLInputElement} */ (document.getElementById("file"));
      return /** @type {File} */ (files?.[0]);
    };
    window.seen = [];
    window.follow = async (upload) => {
      for await (const event of upload) window.seen.push(event);
    };
  });
}

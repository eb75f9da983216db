// The client in a browser, on a page that has nothing else.
import { Demo, freshProfile } from "./browser.js";
import { load } from "./load.js";

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

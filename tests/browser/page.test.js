import assert from "node:assert/strict";
import { test } from "node:test";
import { openDemo } from "./support/browser.js";
import { MB, randomFile } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";

/** @typedef {import("playwright-core").Page} Page */

test("choose, pause, resume, cancel and hide are done with the keyboard alone", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 120 * MB);
  const demo = await openDemo(t, service);
  const { page } = demo;
  await demo.limitUpload(10 * MB);

  // A dialog that gives handles cannot be answered from here; browsers without handles show the other one.
  await page.evaluate(() => Reflect.deleteProperty(window, "showOpenFilePicker"));
  await tabTo(page, "Choose files");
  const chooser = page.waitForEvent("filechooser");
  await page.keyboard.press("Space");
  await (await chooser).setFiles(file.path);
  await demo.untilState("sending");

  await tabTo(page, "Pause holiday.mov");
  await page.keyboard.press("Enter");
  await demo.untilState("paused");
  assert.equal(await focused(page), "Resume holiday.mov", "the focus stays on the control");
  await page.keyboard.press("Space");
  await demo.untilState("sending");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Cancel holiday.mov");
  await page.keyboard.press("Enter");
  await demo.untilState("aborted");
  assert.equal(await focused(page), "Hide holiday.mov", "the focus goes to what is there now");
  await page.keyboard.press("Enter");
  assert.equal(await demo.card().count(), 0);
  assert.equal(await focused(page), "Choose files");
});

test("screen readers are told names, values and states, and not too often", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 80 * MB);
  const demo = await openDemo(t, service);
  const { page } = demo;
  await page.evaluate(() => {
    window.announcements = [];
    const live = /** @type {HTMLElement} */ (document.getElementById("live"));
    new MutationObserver(() => window.announcements.push(live.textContent)).observe(live, { childList: true });
  });
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(3);

  const bar = page.getByRole("progressbar", { name: "Progress of holiday.mov" });
  assert.match((await bar.getAttribute("aria-valuenow")) ?? "", /^\d+$/);
  assert.match((await bar.getAttribute("aria-valuetext")) ?? "", /^\d+% of 80 MB$/);
  const map = page.getByRole("img", { name: /^Parts: \d+ waiting, \d+ sending, 0 trying again, \d+ stored$/ });
  await map.waitFor();
  await demo.untilState("completed");
  await demo.card().getByRole("link", { name: "Download holiday.mov" }).waitFor();
  assert.match((await demo.card().locator(".status").textContent()) ?? "", /Done/);

  // Said when there was a pause.
  await page.waitForFunction(() => /^holiday\.mov: Done/.test(window.announcements.at(-1) ?? ""));
  const announcements = await page.evaluate(() => window.announcements);
  assert.ok(announcements.length <= 8, announcements.join("\n"));
});

test("the page keeps to the service and S3, and to a strict policy", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const policy = (await fetch(service.url)).headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-/);

  await demo.choose(await randomFile(t, 20 * MB));
  await demo.untilState("completed");
  const origins = new Set(demo.requests.map(({ url }) => url.origin));
  assert.deepEqual([...origins].sort(), [service.url, service.s3Url].sort());
  demo.assertNoComplaints();
});

test("nothing overflows on a screen of 360 px, in no state", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service, { viewport: { width: 360, height: 740 } });
  const file = await randomFile(t, 60 * MB, `a-file-name-${"that-goes-on-".repeat(12)}and-ends.tar.zst`);
  /** @param {string} state */
  const assertFits = async (state) => {
    const width = await demo.page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, 360, state);
  };
  await assertFits("empty");
  await demo.limitUpload(20 * MB);
  await demo.choose(file);
  await demo.untilStored(1);
  await assertFits("sending");
  await demo.page.reload();
  await demo.page.locator("#offers .choose").setInputFiles(file.path);
  await demo.untilState("completed");
  await assertFits("completed");
});

/**
 * Presses Tab until the control of this name has the focus.
 *
 * @param {Page} page
 * @param {string} name
 */
async function tabTo(page, name) {
  for (let presses = 0; presses < 20; presses++) {
    await page.keyboard.press("Tab");
    if ((await focused(page)) === name) return;
  }
  assert.fail(`“${name}” is not reached by Tab; the focus is on “${await focused(page)}”`);
}

/**
 * The accessible name of what has the focus, as far as this page gives names.
 *
 * @param {Page} page
 */
function focused(page) {
  return page.evaluate(() => {
    const element = /** @type {Element & Partial<Pick<HTMLInputElement, "labels">> | null} */ (document.activeElement);
    return (element?.ariaLabel ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? "").trim();
  });
}

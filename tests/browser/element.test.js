// `<partita-upload>` in a form.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomFile, assertDownloads, MB } from "./support/files.js";
import { openLibrary } from "./support/library.js";
import { loadForm } from "./support/load.js";
import { startZeroSetup } from "./support/service.js";

/** @typedef {HTMLElement & { value: string[], files: { state?: string, error?: Error }[], checkValidity(): boolean, validationMessage: string }} Field */

/**
 * A page with a form.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("./support/service.js").Service} service
 * @param {string} attributes
 */
async function openForm(t, service, attributes) {
  const demo = await openLibrary(t, service);
  await loadForm(demo.page, attributes);
  return demo;
}

const formData = () => new FormData(/** @type {HTMLFormElement} */ (document.forms[0])).getAll("attachment");
const isValid = () => /** @type {HTMLFormElement} */ (document.forms[0]).checkValidity();

test("a form carries the ids of the files that were uploaded with it, and is not valid before", async (t) => {
  const service = await startZeroSetup(t);
  const files = [await randomFile(t, 30 * MB, "one.bin"), await randomFile(t, 2 * MB, "two.bin")];
  const demo = await openForm(t, service, "required multiple");
  const { page } = demo;
  assert.equal(await page.evaluate(isValid), false, "required");
  await demo.limitUpload(20 * MB);
  await page.locator("partita-upload input").setInputFiles(files.map(({ path }) => path));
  assert.equal(await page.evaluate(isValid), false, "while it is sent");
  assert.deepEqual(await page.evaluate(formData), []);
  await page.waitForFunction(isValid);
  const ids = await page.evaluate(formData);
  assert.equal(ids.length, 2);
  for (const [index, id] of ids.entries()) await assertDownloads(`${service.url}/v1/files/${id}/download`, files[index]);

  await page.getByRole("button", { name: "Remove: one.bin" }).click();
  assert.deepEqual(await page.evaluate(formData), [ids[1]]);
  await page.evaluate(() => document.forms[0].reset());
  assert.deepEqual(await page.evaluate(formData), []);
  assert.equal(await page.evaluate(isValid), false);
});

test("an upload that failed keeps the form from being sent, says why, and can be tried again", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 1 * MB);
  const demo = await openForm(t, service, "");
  const { page } = demo;
  const problem = { code: "quota-bytes", title: "Quota exceeded", status: 409, detail: "Only 12 bytes are left." };
  await page.route("**/v1/uploads", (route) =>
    route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify(problem) }));
  await page.locator("partita-upload input").setInputFiles(file.path);
  await page.getByText("Only 12 bytes are left.").waitFor();
  assert.equal(await page.evaluate(isValid), false);
  await page.unrouteAll();
  await page.getByRole("button", { name: "Try again: holiday.mov" }).click();
  await page.waitForFunction(isValid);
  assert.equal((await page.evaluate(formData)).length, 1);
});

test("what is disabled takes no file, and what is removed half-way is given up", async (t) => {
  const service = await startZeroSetup(t);
  const file = await randomFile(t, 60 * MB);
  const demo = await openForm(t, service, "");
  const { page } = demo;
  await page.evaluate(() => document.querySelector("partita-upload")?.toggleAttribute("disabled", true));
  assert.equal(await page.locator("partita-upload input").isDisabled(), true);
  await page.evaluate(() => document.querySelector("partita-upload")?.toggleAttribute("disabled", false));
  await demo.limitUpload(10 * MB);
  await page.locator("partita-upload input").setInputFiles(file.path);
  await demo.untilStored(1);
  const given = page.waitForResponse((response) => response.request().method() === "DELETE");
  await page.getByRole("button", { name: "Remove: holiday.mov" }).click();
  assert.equal((await given).status(), 204);
  assert.equal(await page.evaluate(isValid), true);
});

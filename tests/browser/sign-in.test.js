// The page, where the service asks who is calling.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openDemo } from "./support/browser.js";
import { assertDownloads, MB, randomFile } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";

test("a service that asks is given a token, which is forgotten on signing out and goes nowhere else", async (t) => {
  const service = await startZeroSetup(t, { PARTITA_INSECURE_NO_AUTH: "false", PARTITA_WEB_DEMO: "true" });
  const key = async (/** @type {string} */ owner) => {
    const scopes = ["uploads:write", "files:read", "files:write"].flatMap((scope) => ["--scope", scope]);
    return (await service.run("keys", "create", "--owner", owner, ...scopes)).trim().split(/\s+/).at(-1) ?? "";
  };
  const [alice, bob] = [await key("alice"), await key("bob")];
  const file = await randomFile(t, 30 * MB);
  const demo = await openDemo(t, service);
  const { page } = demo;
  const token = page.getByLabel("Token");
  await token.fill("wrong");
  await token.press("Enter");
  await page.getByRole("alert").filter({ hasText: /\w/ }).waitFor();
  await token.fill(alice);
  await token.press("Enter");
  await token.waitFor({ state: "hidden" });

  await demo.choose(file);
  await demo.untilState("completed");
  const [download] = await Promise.all([page.waitForEvent("download"), demo.card().locator(".download").click()]);
  await assertDownloads(download.url(), file);
  // S3 is sent what is signed and nothing of who is calling.
  assert.deepEqual(demo.requests.filter(({ url }) => url.href.includes(alice)), []);
  const sent = await Promise.all(demo.puts.map(({ headers }) => headers));
  assert.ok(sent.length > 0 && sent.every((headers) => headers && !("authorization" in headers)), JSON.stringify(sent[0]));
  assert.ok(!(await page.locator("#steps").innerHTML()).includes(alice), "the panel shows the token");

  // In the file's row, for whoever else there is.
  const row = page.locator("#stored > li").filter({ hasText: file.name });
  await row.getByRole("button", { name: /^Share/ }).first().click();
  await row.getByRole("textbox").fill("bob");
  await row.getByRole("textbox").press("Enter");
  await row.getByText("bob").first().waitFor();

  await page.getByRole("button", { name: "Sign out" }).click();
  await token.waitFor();
  await token.fill(bob);
  await token.press("Enter");
  await page.locator("#stored > li").filter({ hasText: file.name }).getByText(/alice/).waitFor();
});

// What axe finds on a page, in any browser.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * @param {{ evaluate: <T>(run: string | (() => T | Promise<T>)) => Promise<T> }} page
 * @param {string} state
 */
export async function assertAccessible(page, state) {
  // In the page's own world; its policy would keep a script tag out.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const { axe } = /** @type {any} */ (window);
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map((/** @type {any} */ each) => `${each.id}: ${each.nodes.map((/** @type {any} */ node) => node.target.join(" ")).join(", ")}`);
  });
  assert.deepEqual(violations, [], state);
}

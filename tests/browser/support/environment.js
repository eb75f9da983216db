import assert from "node:assert/strict";
import path from "node:path";

/** Where screenshots go. */
export const ARTIFACTS = path.resolve(import.meta.dirname, "../../../target/test-artifacts");

/**
 * A variable that the tests need; a missing one fails the test that asks.
 *
 * @param {string} name
 */
export function required(name) {
  const value = process.env[name];
  assert.ok(value, `the environment variable ${name} is not set (see tests/browser/README.md)`);
  return value;
}

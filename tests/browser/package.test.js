// The client as it is published.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const PACKAGE = path.resolve(import.meta.dirname, "../../web-demo/client");
const LIMIT = 10_000;

/** Loaded on its own and only where there are no workers. */
const APART = ["./crc64.js"];

test("the client weighs at most 10 kB, minified and compressed, without the checksums' worker", async (t) => {
  const { outputFiles } = await build({
    entryPoints: [path.join(PACKAGE, "index.js")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: APART,
    write: false,
  });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  t.diagnostic(`${outputFiles[0].contents.length} bytes minified, ${size} compressed`);
  assert.ok(size <= LIMIT, `${size} bytes`);
});

test("bundlers take the client for browsers as it is", async () => {
  const built = await build({ entryPoints: [path.join(PACKAGE, "element.js")], bundle: true, format: "esm", outdir: "out", write: false, logLevel: "silent" });
  assert.deepEqual([...built.errors, ...built.warnings], []);
  assert.ok(built.outputFiles.every(({ text }) => !text.includes("node:")), "nothing that only Node has");
});

test("the client has no dependency and knows nothing outside its folder", async () => {
  const { dependencies, peerDependencies } = JSON.parse(await readFile(path.join(PACKAGE, "package.json"), "utf8"));
  assert.deepEqual({ ...dependencies, ...peerDependencies }, {});
  for (const name of (await readdir(PACKAGE)).filter((each) => each.endsWith(".js"))) {
    const source = await readFile(path.join(PACKAGE, name), "utf8");
    const imports = [...source.matchAll(/^import .*from "([^"]+)"|import\("([^"]+)"\)\s*;|new URL\("([^"]+)", import/gm)];
    for (const [, ...targets] of imports) {
      const target = targets.find(Boolean) ?? "";
      const isOurs = /^\.\/[\w-]+\.js$/.test(target) || (name === "send-node.js" && target.startsWith("node:"));
      assert.ok(isOurs, `${name} imports ${target}`);
    }
  }
});

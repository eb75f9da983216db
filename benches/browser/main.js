// @ts-check
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { writeRandomFile } from "../../tests/browser/support/files.js";
import { Objects } from "./objects.js";
import { CUT_EVERY, PART_SIZE, SCENARIOS } from "./scenarios.js";
import { companion, partita, startStore } from "./servers.js";
import { Side, URL_LIFE_SECONDS } from "./side.js";
import { startSite } from "./site.js";
import { table } from "./table.js";

/** @typedef {import("./scenarios.js").Found} Found */

const MIB = 2 ** 20;
const LARGE = 200 * MIB;
const SMALL = 48 * MIB;
/** A good line, to an S3 that is far enough for one connection not to fill it. */
const NETWORK = { bytesPerSecond: 24_000_000, bytesPerSecondOfEach: 6_000_000, rttMs: 40 };
/** Where the whole is not timed, all rounds of both clients run at once, each on a line of its own, which leaves it to this. */
const SLOW = { bytesPerSecond: 12_000_000, bytesPerSecondOfEach: 3_000_000, rttMs: 40 };
/** In each round the uploads are disturbed at another point, the same for both. */
const SHARES = [0.4, 0.55, 0.7];

const [option, ...names] = process.argv.slice(2);
if (option && option !== "--once") throw new Error(`unknown option ${option}; see --help`);
const unknown = names.find((name) => !(name in SCENARIOS));
if (unknown) throw new Error(`unknown scenario ${unknown}; there are ${Object.keys(SCENARIOS).join(" ")}`);

// Not /tmp, which may be in memory.
const folder = await mkdtemp("/var/tmp/partita-side-by-side.");
/** What is to be ended, whatever happens. @type {(() => unknown)[]} */
const endings = [() => rm(folder, { recursive: true, force: true })];
/** @type {Promise<void> | undefined} */
let ending;
const end = () => {
  ending ??= (async () => {
    for (const each of endings.toReversed()) {
      try {
        await each();
      } catch (error) {
        console.error(String(error));
      }
    }
  })();
  return ending;
};
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    console.error(`ended by ${signal}`);
    end().finally(() => process.exit(1));
  });
}
try {
  await measure();
} finally {
  await end();
}

async function measure() {
  const begun = Date.now();
  const site = await startSite();
  endings.push(site.close);
  const store = await startStore(folder, site.origin);
  endings.push(() => store.child.kill());
  const rounds = option === "--once" ? SHARES.slice(1, 2) : SHARES;
  const shared = { store, objects: new Objects(store), origin: site.origin };
  /** @param {"partita" | "uppy"} name @param {number} round */
  const side = async (name, round) => {
    const prefix = `${name}-${round}/`;
    const isOurs = name === "partita";
    const coordinator = await (isOurs ? partita(folder, site.origin, store, prefix) : companion(site.origin, store, prefix));
    const one = new Side({ name, coordinator, prefix, ...shared }, NETWORK);
    endings.push(() => one.stop());
    await one.start();
    return one;
  };
  /** For each round. @type {[Side, Side][]} */
  const pairs = [];
  for (const round of rounds.keys()) pairs.push([await side("partita", round), await side("uppy", round)]);
  const files = {
    large: await writeRandomFile(folder, LARGE, "large.mov"),
    small: await writeRandomFile(folder, SMALL, "small.mov"),
  };

  const results = [];
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    if (names.length > 0 && !names.includes(name)) continue;
    /** @type {Record<"partita" | "uppy", Found[]>} */
    const found = { partita: [], uppy: [] };
    /** @param {number} round @param {Side} side */
    const run = async (round, side) => {
      const network = scenario.isTimed ? NETWORK : SLOW;
      const one = await scenario.run(side, { ...files, network, share: rounds[round] });
      found[side.name].push(one);
      console.log(`${name}, ${side.name}, round ${round + 1}: ${JSON.stringify(one)}`);
    };
    if (scenario.isTimed) {
      // Who is first changes.
      for (const [round, pair] of pairs.entries()) {
        for (const side of round % 2 ? pair.toReversed() : pair) await run(round, side);
      }
    } else {
      await Promise.all(pairs.flatMap((pair, round) => pair.map((side) => run(round, side))));
    }
    results.push({ title: scenario.title, ...found });
  }
  const chromium = pairs[0][0].browser?.version() ?? "";
  const told = report(table(results), await versions(chromium), rounds.length);
  console.log(`\n${told}\nIt took ${Math.round((Date.now() - begun) / 1000)} s.`);
  if (!option) await writeFile(path.join(import.meta.dirname, "RESULTS.md"), told);
}

/** @param {string} chromium */
async function versions(chromium) {
  const { dependencies } = JSON.parse(await readFile(path.join(import.meta.dirname, "package.json"), "utf8"));
  const packages = Object.keys(dependencies).filter((name) => name.startsWith("@uppy/"));
  const uppy = packages.map((name) => `${name} ${dependencies[name]}`);
  const binary = execFileSync(process.env.PARTITA_BIN ?? "", ["--version"], { encoding: "utf8" }).trim();
  return `${binary}, ${uppy.join(", ")}; Chromium ${chromium}, Node ${process.versions.node}`;
}

/**
 * @param {string} table
 * @param {string} versions
 * @param {number} rounds
 */
function report(table, versions, rounds) {
  const percent = SHARES.map((share) => Math.round(share * 100)).join(", ");
  const [all, each] = [NETWORK.bytesPerSecond, NETWORK.bytesPerSecondOfEach].map((rate) => rate / 1e6);
  return `# Partita's browser client beside Uppy's

Made by \`benches/browser/run\`: ${versions}; ${os.cpus().length} CPUs.

- **Line:** a proxy between the browser and S3, and one between the browser and the coordinator, the same for both clients:
  ${all} MB/s in all, ${each} MB/s for each connection, ${NETWORK.rttMs} ms round trip with each request and once more for each new
  connection, HTTP/1.1. The coordinators themselves reach S3 directly.
- **S3:** the embedded one, in a process of its own; the same bucket for both.
- **Set:** Uppy: \`shouldUseMultipart: true\`, \`companionEndpoint\`; where told, Golden Retriever with its service worker, as
  its documentation sets it up for files that are not small. Companion: \`expires\` as by default (${URL_LIFE_SECONDS} s). Partita:
  \`endpoint\`; URLs live as long as Companion's. Part sizes are the defaults (Partita 8 MiB, Uppy 5 MiB), but
  ${PART_SIZE / MIB} MiB for both where the title says so. Everything else is as it comes.
- **Runs:** ${rounds} of each; the median, and in brackets the least and the most. Files of ${LARGE / MIB} MiB run alone, the clients by
  turns. The other scenarios take a file of ${SMALL / MIB} MiB, which is disturbed after ${percent} % of it; all their runs
  go on at once, each on a line of its own of half the rate. Lost are 1 in ${CUT_EVERY} \`PUT\`s, not fewer, since a file has
  only 25 to 40 parts. Chromium itself repeats some cut requests, unseen by either client.
- **“Retry”** is what a button of the page does: \`uppy.retryAll()\`, or \`upload(file)\` again. It is pressed at once.
  **“Sent again”** is what passed on the line to S3 beyond the size of the file. After each run the object is read back from
  S3 and its SHA-256 compared.

${table}
`;
}

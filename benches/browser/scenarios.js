// @ts-check
import { setTimeout as sleep } from "node:timers/promises";
import { URL_LIFE_SECONDS } from "./side.js";

/** @typedef {import("./side.js").Side} Side */
/** @typedef {import("./side.js").Run} Run */
/** @typedef {import("./line.js").Network} Network */
/** What came of a run, by the name that the table gives it. @typedef {Record<string, number | string>} Found */
/**
 * @typedef {object} Given
 * @property {import("../../tests/browser/support/files.js").TestFile} large
 * @property {import("../../tests/browser/support/files.js").TestFile} small
 * @property {Network} network
 * @property {number} share how much of the file has gone when it is disturbed; another one in each round
 */
/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {boolean} [isTimed] then nothing else runs meanwhile
 * @property {(side: Side, given: Given) => Promise<Found>} run
 */

const MIB = 2 ** 20;
const OUTAGE_MS = 20_000;
const AWAY_MS = 5_000;
/** Where the part size is the same for both: Partita's default. One file in parts one after the other gains by large ones. */
export const PART_SIZE = 8 * MIB;
export const CUT_EVERY = 10;
const SHORT_LIFE_SECONDS = 10;
const CHOOSES = "chooses the file again";

/** @param {Run} run @returns {Promise<Found>} */
async function uploaded(run) {
  await run.begin();
  const { first, byItself, last } = await run.endOrRetry();
  const { side, seconds } = run;
  const puts = side.toS3.requests.PUT;
  return {
    "seconds": last === "completed" ? seconds : last,
    "goes on": byItself ? "by itself" : `after “${first}” and a click on retry: ${last}`,
    "calls to the coordinator": run.calls,
    "`PUT`s to S3": puts,
    "MiB sent again": run.sentAgain,
    "the object": await side.arrived(run.file),
  };
}

/**
 * How it went on after it was disturbed.
 *
 * @param {Run} run
 * @param {number} sinceMs
 * @returns {Promise<Found>}
 */
async function wentOn(run, sinceMs) {
  const { first, byItself, last } = await run.endOrRetry();
  return {
    "goes on": byItself ? "by itself" : `after “${first}” and a click on retry: ${last}`,
    "MiB sent again": run.sentAgain,
    "seconds from then to the end": last === "completed" ? (performance.now() - sinceMs) / 1000 : last,
    "the object": await run.side.arrived(run.file),
  };
}

/** @type {Record<string, Scenario>} */
export const SCENARIOS = {
  "upload": {
    title: "200 MiB, the same part size",
    isTimed: true,
    async run(side, { large, network }) {
      const run = await side.open(large, network, { partSize: PART_SIZE });
      const { "goes on": _, "MiB sent again": __, ...found } = await uploaded(run);
      await run.close();
      return found;
    },
  },
  "one-fills-line": {
    title: "The same, where one connection may fill the line",
    isTimed: true,
    async run(side, { large, network }) {
      const run = await side.open(large, { ...network, bytesPerSecondOfEach: network.bytesPerSecond }, { partSize: PART_SIZE });
      const { seconds, "the object": object } = await uploaded(run);
      await run.close();
      return { seconds, "the object": object };
    },
  },
  "lost-requests": {
    title: `200 MiB, every ${CUT_EVERY}th \`PUT\` cut half-way`,
    isTimed: true,
    async run(side, { large, network }) {
      const run = await side.open(large, network);
      side.toS3.faultOf = ({ method, number, size }) =>
        method === "PUT" && number % CUT_EVERY === CUT_EVERY / 2 ? { cutAfter: size / 2 } : undefined;
      const found = await uploaded(run);
      await run.close();
      return { ...found, "`PUT`s cut": side.toS3.faults };
    },
  },
  "line-down": {
    title: "Every connection cut and refused for 20 s, half-way; the browser takes itself for online",
    run: (side, given) => outage(side, given, { isKnown: false }),
  },
  "offline": {
    title: "The same, and the browser knows that it is offline",
    run: (side, given) => outage(side, given, { isKnown: true }),
  },
  "paused-past-expiry": {
    title: `URLs live ${SHORT_LIFE_SECONDS} s, and the upload is paused for 12 s`,
    async run(side, { small, network, share }) {
      await side.restart(SHORT_LIFE_SECONDS);
      const run = await side.open(small, network);
      await run.begin();
      await run.until(share);
      await run.page.evaluate(() => window.pause());
      await sleep(SHORT_LIFE_SECONDS * 1000 + 2000);
      const since = performance.now();
      await run.page.evaluate(() => window.goOn());
      const found = await wentOn(run, since);
      await run.close();
      await side.restart(URL_LIFE_SECONDS);
      return found;
    },
  },
  "expired-url": {
    title: "S3 answers 403 “Request has expired” to one part",
    async run(side, { small, network }) {
      const run = await side.open(small, network);
      side.toS3.faultOf = ({ method, number }) => (method === "PUT" && number === 3 ? { expired: true } : undefined);
      await run.begin();
      const found = await wentOn(run, performance.now());
      await run.close();
      const { "seconds from then to the end": _, ...rest } = found;
      return rest;
    },
  },
  "cut-then-expired": {
    title: `URLs live ${SHORT_LIFE_SECONDS} s; a part takes longer than that and is cut`,
    async run(side, { small, network }) {
      await side.restart(SHORT_LIFE_SECONDS);
      const run = await side.open(small, { ...network, bytesPerSecondOfEach: 400_000 });
      // Once it has gone on for longer than the URLs live; then the line is as fast as ever.
      const since = performance.now();
      await run.begin();
      await sleep(SHORT_LIFE_SECONDS * 1000 + 1000);
      side.toS3.down();
      await sleep(100);
      side.toS3.reset(network);
      const found = await wentOn(run, since);
      await run.close();
      await side.restart(URL_LIFE_SECONDS);
      return { "goes on": found["goes on"], "the object": found["the object"] };
    },
  },
  "reload": {
    title: "The page is reloaded half-way",
    async run(side, given) {
      /** @type {Found} */
      const found = {};
      for (const way of side.name === "partita" ? ["choose", "handle"] : ["choose", "retriever"]) {
        Object.assign(found, await reloaded(side, given, /** @type {"choose" | "handle" | "retriever"} */ (way)));
      }
      return found;
    },
  },
  "coordinator-killed": {
    title: "The coordinator is killed half-way, and back after 5 s",
    async run(side, { small, network, share }) {
      const run = await side.open(small, network);
      await run.begin();
      await run.until(share);
      await side.coordinator.kill();
      await sleep(AWAY_MS);
      await side.coordinator.start({ urlLifeSeconds: URL_LIFE_SECONDS });
      const found = await wentOn(run, performance.now());
      await run.close();
      return found;
    },
  },
  "flipped-bit": {
    title: "One bit changes on the way to S3",
    async run(side, { small, network }) {
      const run = await side.open(small, network);
      side.toS3.faultOf = ({ method, number }) => (method === "PUT" && number === 2 ? { flipAt: MIB } : undefined);
      await run.begin();
      const outcome = await run.end();
      const object = await side.arrived(run.file);
      /** @type {Found} */
      const found = {
        "noticed": outcome === "completed" ? "no: told as completed" : `yes: “${outcome}”`,
        "the object": object,
      };
      if (outcome !== "completed") {
        await run.page.evaluate(() => window.retry());
        found["after a click on retry"] = `${await run.end()}, ${await side.arrived(run.file)}`;
        found["MiB sent again"] = run.sentAgain;
      }
      await run.close();
      return found;
    },
  },
};

/**
 * @param {Side} side
 * @param {Given} given
 * @param {{ isKnown: boolean }} options whether the browser knows that it is offline
 * @returns {Promise<Found>}
 */
async function outage(side, { small, network, share }, { isKnown }) {
  const run = await side.open(small, network);
  await run.begin();
  await run.until(share);
  if (isKnown) await run.context.setOffline(true);
  side.toS3.down();
  side.toCoordinator.down();
  await sleep(OUTAGE_MS);
  side.toS3.up();
  side.toCoordinator.up();
  if (isKnown) await run.context.setOffline(false);
  const found = await wentOn(run, performance.now());
  await run.close();
  return found;
}

/**
 * @param {Side} side
 * @param {Given} given
 * @param {"choose" | "handle" | "retriever"} way
 * @returns {Promise<Found>}
 */
async function reloaded(side, { small, network, share }, way) {
  const run = await side.open(small, network, { retriever: way === "retriever" });
  const { page } = run;
  if (way === "handle") {
    await run.drop();
    await page.evaluate(() => window.beginWithHandle());
  } else {
    await run.begin();
  }
  await run.until(share);
  await page.reload();
  await page.evaluate(() => window.isReady);
  let todo = CHOOSES;
  if (way !== "choose") {
    const found = await page.evaluate(() => window.found());
    todo = { ready: "nothing", ask: "one click", choose: CHOOSES, nothing: "begins anew, for nothing was kept" }[found] ?? found;
    if (found === "ready" || found === "ask") await page.evaluate(() => window.goOnAfterReload());
  }
  if (todo !== "nothing" && todo !== "one click") {
    await run.choose();
    await run.begin();
  }
  const { "goes on": goesOn, "MiB sent again": again, "the object": object } = await wentOn(run, performance.now());
  await run.close();
  const name = way === "choose" ? "plain" : "the file kept (Partita: it was dropped; Uppy: Golden Retriever)";
  return {
    [`${name}: the visitor does`]: goesOn === "by itself" ? todo : `${todo}; ${goesOn}`,
    [`${name}: MiB sent again`]: again,
    [`${name}: the object`]: object,
  };
}

// Partita's browser client beside @uppy/aws-s3: what each does on the same network, when all is well and when it is not.
import { createHash, randomFillSync } from "node:crypto";
import { mkdtemp, open, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { chromium } from "playwright-core";
import { network } from "./network.mjs";
import { BUCKET, companion, front, KEYS, partita, REGION, removed, store } from "./services.mjs";

const MIB = 1024 * 1024;
const MB = 1_000_000;
/** Above the 100 MiB from which Uppy sends in parts unless told otherwise. */
const SIZE = 120 * MIB;
const LINE = 12 * MB;
const LANE = 3 * MB;
const LATENCY_MS = 40;
const TIMES = 3;
const PATIENCE_MS = 180_000;
const CLIENTS = ["partita", "uppy"];

/** What happens on the way. `act` is given the stage on which it plays; what it answers is told. */
const SCENARIOS = {
  line: { title: "nothing goes wrong, one line of 12 MB/s", lane: LINE, times: TIMES },
  lanes: { title: "nothing goes wrong, each connection has 3 MB/s of the 12", times: TIMES },
  cut: { title: "the connection of a part is cut half-way", faults: [{ after: 3, do: "cut" }] },
  outage: { title: "S3 and coordinator are out of reach for 20 s", act: outage },
  expired: { title: "a part's URL has expired (403)", faults: [{ after: 3, do: "forbid" }] },
  pause: { title: "paused for longer than URLs live (10 s)", life: 10, act: longPause },
  reload: { title: "the page is reloaded half-way", act: reload },
  restart: { title: "the coordinator is killed half-way, and is back after 5 s", act: restart },
  flip: { title: "a bit turns on the way", faults: [{ after: 3, do: "flip" }] },
};

async function outage({ net, seen }) {
  net.down();
  seen.isDown = true;
  await pause(20_000);
  net.up();
  seen.isDown = false;
}

async function longPause({ page }) {
  await page.evaluate(() => window.pause());
  await pause(15_000);
  await page.evaluate(() => window.resume());
}

async function reload({ page, file, note }) {
  await page.reload();
  await page.waitForFunction(() => window.stage);
  await pause(1_500); // Golden Retriever looks around
  note("the file is chosen again");
  await page.setInputFiles("#file", file);
  await page.evaluate(() => window.again(document.getElementById("file").files[0]));
}

async function restart({ coordinator }) {
  await coordinator.program.kill();
  await pause(5_000);
  await coordinator.program.start();
}

/** One upload by one client. */
async function play(name, client, { browser, folder, s3, file, sum }) {
  const { lane = LANE, faults = [], life, act } = SCENARIOS[name];
  const net = await network({ upstream: s3.url, line: LINE, lane, latencyMs: LATENCY_MS });
  const coordinators = {
    partita: await partita(folder, { direct: s3.url, s3: net.url, life }),
    companion: await companion({ s3: net.url, life }),
  };
  const seen = await front({ partita: coordinators.partita, companion: coordinators.companion });
  const coordinator = client === "partita" ? coordinators.partita : coordinators.companion;
  const context = await browser.newContext();
  const page = await context.newPage();
  const notes = [];
  try {
    await page.goto(`${seen.url}/${client}`);
    await page.waitForFunction(() => window.stage);
    await page.setInputFiles("#file", file);
    seen.calls = 0;
    net.faults.push(...faults.map((fault) => ({ ...fault })));
    const begun = performance.now();
    await page.evaluate(() => window.begin(document.getElementById("file").files[0]));
    if (act) {
      while (net.sent < SIZE / 2) await pause(20);
      await act({ net, seen, page, file, coordinator, note: (text) => notes.push(text) });
    }
    let stage = await ended(page);
    if (stage.state === "failed" && name !== "flip") {
      notes.push(`fails (“${stage.why}”)`, "goes on after a click on “retry”");
      await page.evaluate(() => window.retry(document.getElementById("file").files[0]));
      stage = await ended(page);
    }
    const seconds = (performance.now() - begun) / 1000;
    const isWhole = stage.state === "done" && (await sumOf(client, stage, { s3, coordinator })) === sum;
    return { seconds, calls: seen.calls, puts: net.puts, again: Math.max(net.sent - SIZE, 0), stage, isWhole, notes };
  } finally {
    await context.close();
    await seen.close();
    await Promise.all(Object.values(coordinators).map(({ program }) => program.kill()));
    await net.close();
  }
}

async function ended(page) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const stage = await page.evaluate(() => window.stage);
    if (stage.state === "done" || stage.state === "failed") return stage;
    if (Date.now() > deadline) return { state: "stuck" };
    await pause(50);
  }
}

/** SHA-256 of what has arrived. */
async function sumOf(client, { id, key }, { s3, coordinator }) {
  const hash = createHash("sha256");
  if (client === "partita") {
    for await (const chunk of (await fetch(`${coordinator.url}/v1/files/${id}/content`)).body) hash.update(chunk);
  } else {
    const reader = new S3Client({ endpoint: s3.url, forcePathStyle: true, region: REGION, credentials: KEYS });
    for await (const chunk of (await reader.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))).Body) hash.update(chunk);
  }
  return hash.digest("hex");
}

async function makeFile(folder) {
  const file = path.join(folder, "holiday.mov");
  const handle = await open(file, "w");
  const [hash, block] = [createHash("sha256"), Buffer.alloc(MIB)];
  for (let at = 0; at < SIZE; at += MIB) {
    hash.update(randomFillSync(block));
    await handle.write(block);
  }
  await handle.close();
  return { file, sum: hash.digest("hex") };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** How it ended, in words. */
function told({ stage, isWhole, notes, again }) {
  const end =
    stage.state === "stuck" ? "**never ends**"
    : stage.state === "failed" ? `ends as a failure: ${stage.why}`
    : isWhole ? "arrives whole" : "**told as a success; what has arrived is another file**";
  const more = again > MB ? [`${Math.round(again / MB)} MB sent again`] : [];
  return [...(notes.length > 0 || stage.state !== "done" ? notes : ["goes on by itself"]), ...more, end].join("; ");
}

function table(results) {
  const rows = [["", "Partita", "@uppy/aws-s3 with Companion"]];
  for (const name of ["line", "lanes"].filter((each) => results[each])) {
    const cell = (client) => {
      const runs = results[name][client];
      const seconds = runs.map((run) => run.seconds);
      const range = `${Math.min(...seconds).toFixed(1)}–${Math.max(...seconds).toFixed(1)}`;
      return `**${median(seconds).toFixed(1)} s** (${range}), ${runs[0].calls} calls${runs.every((run) => run.isWhole) ? "" : ", not whole"}`;
    };
    rows.push([SCENARIOS[name].title, ...CLIENTS.map(cell)]);
  }
  for (const [name, { title }] of Object.entries(SCENARIOS)) {
    if (!results[name] || name.startsWith("line") || name === "lanes") continue;
    rows.push([title, ...CLIENTS.map((client) => told(results[name][client][0]))]);
  }
  const [head, ...rest] = rows.map((cells) => `| ${cells.join(" | ")} |`);
  return [head, "|---|---|---|", ...rest].join("\n");
}

async function versionOf(name) {
  return JSON.parse(await readFile(path.join(import.meta.dirname, "node_modules", name, "package.json"), "utf8")).version;
}

const wanted = process.argv.slice(2);
const names = wanted.length > 0 ? wanted : Object.keys(SCENARIOS);
const folder = await mkdtemp(path.join(tmpdir(), "partita-side-"));
const s3 = await store(folder);
const browser = await chromium.launch({
  executablePath: process.env.PARTITA_TEST_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"],
});
const results = {};
try {
  const { file, sum } = await makeFile(folder);
  for (const name of names) {
    results[name] = { partita: [], uppy: [] };
    for (let time = 0; time < (SCENARIOS[name].times ?? 1); time++) {
      for (const client of CLIENTS) {
        const run = await play(name, client, { browser, folder, s3, file, sum });
        results[name][client].push(run);
        console.error(`${name} ${client}: ${run.seconds.toFixed(1)} s, ${run.calls} calls, ${run.puts} PUTs; ${told(run)}`);
      }
    }
  }
} finally {
  await browser.close();
  await s3.stop();
  await removed(folder);
}
const about = `A file of ${SIZE / MIB} MiB from Chromium ${browser.version()} to the embedded S3, through a proxy that gives ${LINE / MB} MB/s in all, ${LANE / MB} MB/s
to each connection where nothing else is said, and ${LATENCY_MS} ms before each answer. Both clients with their defaults: Partita plans parts of 8 MiB and sends up to six
at once; Uppy (@uppy/aws-s3 ${await versionOf("@uppy/aws-s3")}, @uppy/companion ${await versionOf("@uppy/companion")}, @uppy/golden-retriever ${await versionOf("@uppy/golden-retriever")}) sends parts of 5 MiB one after the other, and keeps no
checksum. Calls are those of the browser to the coordinator. What is timed was run ${TIMES} times, the one after the other: median, least and greatest.`;
console.log(`\n${about}\n\n${table(results)}`);
if (wanted.length === 0 && process.env.RESULTS) {
  await writeFile(process.env.RESULTS, `# Side by side in the browser\n\n${about}\n\n${table(results)}\n\n\`benches/browser/run\` measures it.\n`);
}

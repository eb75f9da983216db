// @ts-check
/** What goes on now, over all uploads: how far they are together, which connection sends what, and how fast it all goes. */
import { byId, find, make } from "./dom.js";
import { formatBytes, formatPercent, formatSpeed, formatTimeLeft, t } from "./i18n.js";
import { Speed } from "./speed.js";

/** @typedef {import("./card.js").UploadCard} UploadCard */

const LANES = 6;
const TICK_MS = 500;
/** The line shows the last minute. */
const SAMPLES = 120;
/** The line's own coordinates. */
const [WIDTH, HEIGHT] = [SAMPLES - 1, 40];

/** @param {() => { cards: UploadCard[], waiting: { file: File }[] }} all */
export function startActivity(all) {
  /** What each connection is at. @type {({ card: UploadCard, partNumber: number, share: number } | undefined)[]} */
  const lanes = new Array(LANES).fill(undefined);
  const rows = lanes.map((_, lane) => {
    const row = make("li", {}, make("b", {}, String(lane + 1)), make("span", { className: "lane-text" }), make("i", { className: "lane-fill" }));
    byId("lanes").append(row);
    return row;
  });
  const speed = new Speed();
  /** @type {number[]} */
  let samples = [];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;
  let lastBytes = 0;
  /** Speed counts only what goes while it is watched, whichever uploads there are. */
  let moved = 0;

  const totals = () => {
    const { cards, waiting } = all();
    const counted = cards.filter(({ state }) => !["failed", "aborted"].includes(state));
    const size = counted.reduce((sum, card) => sum + card.source.size, 0) + waiting.reduce((sum, { file }) => sum + file.size, 0);
    const sent = counted.reduce((sum, card) => sum + card.sentBytes, 0);
    return { size, sent, count: counted.length + waiting.length };
  };

  const render = () => {
    const { size, sent, count } = totals();
    moved += Math.max(sent - lastBytes, 0);
    lastBytes = sent;
    const rate = speed.update(moved);
    samples = [...samples, rate ?? 0].slice(-SAMPLES);

    const share = size > 0 ? sent / size : 0;
    find(document, "total-fill").style.transform = `scaleX(${share})`;
    const bar = byId("total-bar");
    bar.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
    bar.setAttribute("aria-valuetext", t("progress.value", { percent: formatPercent(share), size: formatBytes(size) }));
    byId("total-amount").textContent = `${t("files.count", { count })} · ${t("amount", { sent: formatBytes(sent), size: formatBytes(size) })}`;
    byId("total-speed").textContent = rate ? formatSpeed(rate) : "";
    byId("total-left").textContent = rate && sent < size ? formatTimeLeft(((size - sent) / rate) * 1000) : "";

    lanes.forEach((lane, index) => {
      const row = rows[index];
      row.classList.toggle("busy", lane !== undefined);
      const text = lane ? t("lane.part", { part: lane.partNumber, name: lane.card.source.name }) : t("lane.idle");
      find(row, "lane-text").textContent = text;
      find(row, "lane-fill").style.transform = `scaleX(${lane?.share ?? 0})`;
    });
    drawLine(samples, rate ?? 0);
  };

  const changed = () => {
    for (const [index, lane] of lanes.entries()) if (lane && (lane.card.isEnded || lane.card.state === "paused")) lanes[index] = undefined;
    const { cards } = all();
    const isActive = cards.some(({ isBusy }) => isBusy);
    byId("activity").hidden = !isActive && !cards.some(({ state }) => state === "paused");
    if (isActive && timer === undefined) {
      lastBytes = totals().sent;
      samples = [];
      speed.reset(moved);
      timer = setInterval(render, TICK_MS);
    } else if (!isActive) {
      clearInterval(timer);
      timer = undefined;
    }
    render();
  };

  return {
    changed,
    /** @param {import("../client/index.js").UploadEvent} event @param {UploadCard} card */
    happened(event, card) {
      // What was there before has not gone through now.
      if (event.type === "plan") lastBytes = totals().sent;
      if (event.type !== "part" || event.lane === undefined) return;
      const { lane, partNumber, sentBytes, size, state } = event;
      lanes[lane] = state === "sending" ? { card, partNumber, share: sentBytes / size } : undefined;
    },
  };
}

/**
 * @param {number[]} samples bytes per second, the latest last
 * @param {number} now
 */
function drawLine(samples, now) {
  const highest = Math.max(...samples, 1);
  const points = samples.map((value, index) => `${WIDTH - (samples.length - 1 - index)},${HEIGHT - 2 - (value / highest) * (HEIGHT - 6)}`);
  byId("line").setAttribute("points", points.join(" "));
  byId("line-area").setAttribute("points", `${WIDTH - samples.length + 1},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`);
  byId("chart").setAttribute("aria-label", t("throughput.now", { speed: formatSpeed(now) }));
  byId("chart-peak").textContent = formatSpeed(highest === 1 ? 0 : highest);
}

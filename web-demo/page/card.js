// @ts-check
/** One file on the page: its card, from waiting for its turn to the download link. */
import { UploadError } from "../client/index.js";
import { announce } from "./announcer.js";
import { byId, find, fromTemplate } from "./dom.js";
import { explain } from "./explain.js";
import { formatBytes, formatDuration, formatPercent, formatSpeed, formatTimeLeft, t } from "./i18n.js";
import { PartMap } from "./part-map.js";
import { PartTable } from "./part-table.js";
import { Speed } from "./speed.js";

/** @typedef {import("../client/index.js").Upload} Upload */
/** @typedef {import("../client/index.js").UploadEvent} UploadEvent */
/** @typedef {import("../client/index.js").UploadResource} UploadResource */
/** @typedef {"waiting" | import("../client/index.js").UploadState} CardState */

/** Which controls there are in which state. @type {Record<CardState, string[]>} */
const CONTROLS = {
  waiting: ["cancel"],
  preparing: ["cancel"],
  elsewhere: ["dismiss"],
  sending: ["pause", "cancel"],
  paused: ["pause", "cancel"],
  offline: ["pause", "cancel"],
  completing: [],
  completed: ["download", "dismiss"],
  failed: ["retry", "dismiss"],
  aborted: ["dismiss"],
};
const NAMES = ["pause", "cancel", "retry", "download", "dismiss"];

/** After these there is nothing to go on with: trying again means beginning anew. */
const GONE = ["upload-not-found", "upload-expired", "upload-aborted", "upload-failed", "file-deleted", "checksum-mismatch", "file-changed"];
/** After these trying again with the same file leads nowhere. */
const HOPELESS = ["file-differs", "file-needed", "file-unreadable", "file-changed", "file-too-large", "content-type-not-allowed", "invalid-filename"];

const FIGURES_MS = 250;

/**
 * What a card needs of the page around it.
 *
 * @typedef {object} Page
 * @property {(card: UploadCard) => Upload} begin
 * @property {(card: UploadCard) => void} changed it has come to rest or begun, or has left the page
 * @property {(event: UploadEvent, card: UploadCard) => void} happened
 * @property {(id: string, event: MouseEvent) => void} download
 */

export class UploadCard {
  /** @type {CardState} */
  state = "waiting";
  /** @type {Upload | undefined} */
  upload;
  /** The open upload to go on with. @type {string | undefined} */
  uploadId;
  #page;
  #map;
  #table;
  #speed = new Speed();
  #startedAt = 0;
  #resumedBytes = 0;
  #retries = 0;
  #announcedQuarter = 0;
  #frame = 0;
  #took = 0;
  /** @type {UploadError | undefined} */
  #error;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {Page} page
   * @param {{ name: string, size: number, file?: File, handle?: FileSystemFileHandle, partSize?: number }} source
   */
  constructor(page, source) {
    this.#page = page;
    this.source = source;
    this.element = fromTemplate("upload-template");
    const cells = find(this.element, "cells");
    this.#map = new PartMap(cells, find(this.element, "map"));
    this.#table = new PartTable(find(this.element, "table"), this.#map);
    find(this.element, "name").textContent = find(this.element, "name").title = source.name;
    find(this.element, "pause").onclick = () => (this.upload?.state === "paused" ? this.upload.resume() : this.upload?.pause());
    find(this.element, "cancel").onclick = () => this.cancel();
    find(this.element, "retry").onclick = () => this.start();
    find(this.element, "dismiss").onclick = () => this.dismiss();
    find(this.element, "download").onclick = (/** @type {MouseEvent} */ event) => this.#page.download(this.upload?.id ?? "", event);
    this.retranslate();
  }

  /** Whether it takes the line, so that others wait for their turn. */
  get isBusy() {
    return ["preparing", "sending", "offline", "completing"].includes(this.state);
  }

  /** Whether it is over, one way or another. */
  get isEnded() {
    return ["completed", "failed", "aborted"].includes(this.state);
  }

  /** Whether trying again may help. */
  get canRetry() {
    return this.state === "failed" && !HOPELESS.includes(this.#error?.code ?? "");
  }

  /** Bytes of it that have gone. */
  get sentBytes() {
    if (this.state === "completed") return this.source.size;
    return Math.min(this.upload?.sentBytes ?? 0, this.source.size);
  }

  /** Sends the file: goes on with the upload that it belongs to, or begins a new one. */
  async start() {
    this.#startedAt = performance.now();
    this.#retries = this.#announcedQuarter = 0;
    this.#error = undefined;
    this.#say("");
    this.#show("preparing");
    const upload = (this.upload = this.#page.begin(this));
    try {
      for await (const event of upload) {
        this.#follow(event, upload);
        this.#page.happened(event, this);
      }
      this.#finished(await upload);
    } catch (thrown) {
      this.#failed(UploadError.from(thrown));
    }
  }

  cancel() {
    if (this.upload && !this.isEnded) this.upload.abort();
    else this.#show("aborted");
  }

  dismiss() {
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling ?? byId("files");
    clearInterval(this.#timer);
    // Only the watching ends: the upload is another tab's.
    if (this.state === "elsewhere") this.upload?.abort();
    this.element.remove();
    next.focus();
    this.#page.changed(this);
  }

  /** After the language has changed. */
  retranslate() {
    find(this.element, "bar").setAttribute("aria-label", t("progress.of", { name: this.source.name }));
    for (const name of ["cancel", "retry", "dismiss", "download"]) this.#name(name, t(/** @type {"cancel"} */ (name)));
    for (const [name, key] of Object.entries({ "table-title": "table.show", "th-parts": "table.parts", "th-state": "table.state", "th-sent": "table.sent", "th-lane": "table.connection" })) {
      find(this.element, name).textContent = t(/** @type {"table.show"} */ (key));
    }
    this.#renderPlan();
    if (this.#error) this.#say(explain(this.#error), "error");
    this.#show(this.state);
  }

  /**
   * @param {UploadEvent} event
   * @param {Upload} upload
   */
  #follow(event, upload) {
    if (event.type === "state") {
      // Told by the promise, with what belongs to it.
      if (["completed", "failed", "aborted"].includes(event.state)) return;
      if (event.state === "sending") this.#speed.reset(upload.sentBytes);
      else this.#say("");
      this.#show(event.state);
    } else if (event.type === "plan") {
      const { partCount = 0 } = event.upload;
      this.uploadId = event.upload.id;
      this.#map.setCount(partCount);
      const missing = new Set(event.missing);
      for (let part = 1; part <= partCount; part++) if (!missing.has(part)) this.#map.setPart(part, "stored", 1);
      this.#resumedBytes = this.source.size - event.missing.reduce((sum, part) => sum + this.#sizeOf(part, event.upload), 0);
      this.#speed.reset(this.#resumedBytes);
      this.#renderPlan();
    } else if (event.type === "part") {
      this.#map.setPart(event.partNumber, event.state, event.sentBytes / event.size, event.lane);
      if (event.state === "stored") this.#say("");
    } else if (event.type === "progress") {
      this.#frame ||= requestAnimationFrame(() => {
        this.#frame = 0;
        this.#render();
      });
    } else if (event.type === "retry") {
      this.#retries++;
      const values = { reason: explain(event.error), part: event.partNumber ?? 0 };
      this.#say(t(event.partNumber ? "retrying.part" : "retrying.call", values), "info");
      this.#renderPlan();
    }
  }

  /**
   * @param {number} part
   * @param {UploadResource} upload
   */
  #sizeOf(part, { partSize }) {
    return Math.min(partSize, this.source.size - (part - 1) * partSize);
  }

  /** @param {UploadResource} resource */
  #finished({ id, object }) {
    this.#took = performance.now() - this.#startedAt;
    this.uploadId = id;
    find(this.element, "download").href = `/v1/files/${id}/download`;
    this.#say("");
    this.#renderPlan(object?.checksum?.verified);
    this.#show("completed");
  }

  /** @param {UploadError} error */
  #failed(error) {
    if (error.code === "aborted") return this.#show("aborted");
    if (GONE.includes(error.code)) this.uploadId = undefined;
    this.#error = error;
    this.#say(explain(error), "error");
    this.#show("failed");
  }

  /** @param {CardState} state */
  #show(state) {
    const changed = this.state !== state;
    const { activeElement } = document;
    const hadFocus = this.element.contains(activeElement) && activeElement !== this.element;
    this.state = state;
    this.element.dataset.state = state;
    find(this.element, "status-text").textContent = t(`state.${state}`);
    this.element.querySelector("use")?.setAttribute("href", `#icon-${state}`);
    const names = state === "failed" && !this.canRetry ? ["dismiss"] : CONTROLS[state];
    for (const name of NAMES) find(this.element, name).hidden = !names.includes(name);
    this.#name("pause", t(state === "paused" ? "resume" : "pause"));
    // A control that has just gone must not take the focus with it.
    if (hadFocus && /** @type {HTMLElement} */ (activeElement).offsetParent === null) this.#focusControl();

    clearInterval(this.#timer);
    if (state === "sending") this.#timer = setInterval(() => this.#render(), FIGURES_MS);
    this.#render();
    this.#map.redraw();
    this.#table.render();
    if (!changed) return;
    const { name } = this.source;
    const message = find(this.element, "message").textContent;
    if (state !== "preparing") announce(t("announce.state", { name, state: t(`state.${state}`), message }), name);
    this.#page.changed(this);
  }

  #focusControl() {
    const control = NAMES.map((name) => find(this.element, name)).find((each) => !each.hidden);
    (control ?? this.element).focus();
  }

  #render() {
    const { size, name } = this.source;
    const sent = this.sentBytes;
    const share = this.state === "completed" ? 1 : this.upload?.resource && size > 0 ? sent / size : 0;
    const bar = find(this.element, "bar");
    find(this.element, "bar-fill").style.transform = `scaleX(${share})`;
    bar.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
    bar.setAttribute("aria-valuetext", t("progress.value", { percent: formatPercent(share), size: formatBytes(size) }));
    this.#map.describe();

    const isDone = this.state === "completed";
    const isKnown = this.upload?.resource !== undefined && !isDone;
    find(this.element, "amount").textContent = isKnown ? t("amount", { sent: formatBytes(sent), size: formatBytes(size) }) : formatBytes(size);
    const speed = this.state === "sending" ? this.#speed.update(sent) : undefined;
    const average = isDone && this.#took > 0 ? (size - this.#resumedBytes) / this.#took : 0;
    find(this.element, "speed").textContent = speed ? formatSpeed(speed) : isDone && this.#took > 0 ? t("took", { time: formatDuration(this.#took) }) : "";
    const left = speed ? formatTimeLeft(((size - sent) / speed) * 1000) : "";
    find(this.element, "left").textContent = average > 0 ? t("average", { speed: formatSpeed(average * 1000) }) : left;

    const quarter = Math.floor(share * 4);
    if (this.state === "sending" && quarter > this.#announcedQuarter && quarter < 4) {
      this.#announcedQuarter = quarter;
      announce(t("announce.percent", { name, percent: formatPercent(quarter / 4) }), name);
    }
  }

  /** @param {boolean} [isVerified] */
  #renderPlan(isVerified = this.upload?.resource?.object?.checksum?.verified) {
    const { partCount = 0, partSize = 0 } = this.upload?.resource ?? {};
    const said = [
      partCount > 0 ? t("plan.parts", { count: partCount, size: `${partSize / 1024 / 1024} MiB` }) : "",
      this.#resumedBytes > 0 && partCount > 0 ? t("plan.resumed", { amount: formatBytes(this.#resumedBytes) }) : "",
      this.#retries > 0 ? t("plan.retries", { count: this.#retries }) : "",
      isVerified ? t("verified") : "",
    ];
    find(this.element, "plan").textContent = said.filter(Boolean).join(" · ");
  }

  /**
   * @param {string} text
   * @param {"info" | "error"} [kind]
   */
  #say(text, kind = "info") {
    const message = find(this.element, "message");
    message.textContent = text;
    message.dataset.kind = kind;
    message.hidden = text === "";
  }

  /**
   * A control's text, and its name for those who hear it out of its context.
   *
   * @param {string} control
   * @param {string} action
   */
  #name(control, action) {
    find(this.element, control).textContent = action;
    find(this.element, control).setAttribute("aria-label", t("named", { action, name: this.source.name }));
  }
}

// @ts-check
/** One file on the page: its card, from waiting for its turn to the download link. */
import { fingerprint, UploadError } from "./partita.js";
import { forget, remember } from "./memory.js";
import { PartMap, WORDS } from "./part-map.js";
import { Speed } from "./speed.js";
import { explain, formatBytes, formatDuration, formatPartSize, formatTimeLeft } from "./words.js";

/** @typedef {import("./partita.js").Partita} Partita */
/** @typedef {import("./partita.js").Upload} Upload */
/** @typedef {import("./partita.js").UploadResource} UploadResource */
/** @typedef {"waiting" | import("./partita.js").UploadState} CardState */

/** @type {Record<CardState, string>} */
const STATUS = {
  waiting: "Waiting its turn",
  preparing: "Preparing",
  sending: "Sending",
  paused: "Paused",
  offline: "Waiting for the network",
  completing: "Putting the parts together",
  completed: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** Which controls there are in which state. @type {Record<CardState, string[]>} */
const CONTROLS = {
  waiting: ["cancel"],
  preparing: ["cancel"],
  sending: ["pause", "cancel"],
  paused: ["pause", "cancel"],
  offline: ["pause", "cancel"],
  completing: [],
  completed: ["download", "dismiss"],
  failed: ["retry", "dismiss"],
  cancelled: ["dismiss"],
};

/** After these there is nothing to go on with: trying again means beginning anew. */
const GONE = ["upload-not-found", "upload-expired", "upload-aborted", "upload-failed", "file-deleted"];
/** After these trying again with the same file leads nowhere. */
const HOPELESS = ["file-differs", "file-unreadable", "file-too-large", "content-type-not-allowed", "invalid-filename"];

const FIGURES_MS = 250;

/**
 * What a card needs of the page around it.
 *
 * @typedef {object} Page
 * @property {Partita} client
 * @property {(text: string) => void} announce says it to screen readers
 * @property {() => void} changed a card has come to rest or begun, or has left the page
 * @property {(fingerprint: string, card: UploadCard) => Promise<UploadResource | undefined>} findOpen the open upload of
 *   this file, if no other card has it
 */

export class UploadCard {
  /** @type {CardState} */
  state = "waiting";
  /** @type {Upload | undefined} */
  upload;
  /** The open upload to go on with. @type {string | undefined} */
  uploadId;
  /** @type {string | undefined} */
  fingerprint;

  #page;
  #file;
  #map;
  #speed = new Speed();
  #startedAt = 0;
  #resumedBytes = 0;
  #retries = 0;
  #announcedQuarter = 0;
  #frame = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {Page} page
   * @param {{ name: string, size: number }} file a `File`, unless only {@link finished} will be called
   */
  constructor(page, file) {
    this.#page = page;
    this.#file = file;
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("upload-template"));
    this.element = /** @type {HTMLElement} */ (template.content.querySelector("li")?.cloneNode(true));
    this.#map = new PartMap(/** @type {HTMLCanvasElement} */ (this.#find("map")));
    this.#find("name").textContent = file.name;
    this.#find("name").title = file.name;
    this.#find("bar").setAttribute("aria-label", `Progress of ${file.name}`);
    this.#find("amount").textContent = formatBytes(file.size);
    for (const name of ["pause", "cancel", "retry", "dismiss", "download"]) this.#label(name);
    this.#find("pause").onclick = () => (this.upload?.state === "paused" ? this.upload.resume() : this.upload?.pause());
    this.#find("cancel").onclick = () => this.#cancel();
    this.#find("retry").onclick = () => this.start();
    this.#find("dismiss").onclick = () => this.#dismiss();
    this.#show("waiting");
  }

  /** Whether it takes the line, so that others wait for their turn. */
  get busy() {
    return ["preparing", "sending", "offline", "completing"].includes(this.state);
  }

  /** Whether it is over, one way or another. */
  get ended() {
    return ["completed", "failed", "cancelled"].includes(this.state);
  }

  /** Sends the file: goes on with the upload that it belongs to, or begins a new one. */
  async start() {
    const file = /** @type {File} */ (this.#file);
    this.#startedAt = performance.now();
    this.#retries = 0;
    this.#announcedQuarter = 0;
    this.#say("");
    this.#show("preparing");
    try {
      this.fingerprint ??= await fingerprint(file);
      this.uploadId ??= (await this.#page.findOpen(this.fingerprint, this))?.id;
      if (this.state !== "preparing") return; // cancelled meanwhile
      const { client } = this.#page;
      const upload = this.uploadId ? client.resume(this.uploadId, file) : client.upload(file);
      this.upload = upload;
      this.#listen(upload);
      this.finished(await upload.done, performance.now() - this.#startedAt);
    } catch (thrown) {
      this.#failed(UploadError.from(thrown));
    }
  }

  /**
   * Tells that a step is tried again.
   *
   * @param {UploadError} error
   * @param {number} delayMs
   * @param {number} [partNumber]
   */
  retrying(error, delayMs, partNumber) {
    this.#retries++;
    const part = partNumber === undefined ? "" : `Part ${partNumber}: `;
    this.#say(`${part}${explain(error)} Trying again${delayMs < 1500 ? "" : ` in ${Math.round(delayMs / 1000)} s`}…`, "info");
  }

  /**
   * @param {UploadResource} resource
   * @param {number} [durationMs] how long it took, if it was sent from this page
   */
  finished(resource, durationMs) {
    forget(resource.id);
    this.uploadId = resource.id;
    const link = /** @type {HTMLAnchorElement} */ (this.#find("download"));
    link.href = this.#page.client.downloadUrl(resource.id);
    const sent = this.#file.size - this.#resumedBytes;
    this.#say("");
    this.#setBar(100);
    this.#find("amount").textContent = formatBytes(this.#file.size);
    this.#find("speed").textContent = "";
    this.#find("left").textContent = "";
    if (durationMs !== undefined) {
      this.#find("speed").textContent = `in ${formatDuration(durationMs)}`;
      if (sent > 0) this.#find("left").textContent = `${formatBytes((sent / durationMs) * 1000)}/s on average`;
    }
    this.#show("completed");
  }

  /** @param {Upload} upload */
  #listen(upload) {
    upload.on("state", (state) => {
      if (state === "completed" || state === "failed") return; // told by `done`, with what belongs to it
      if (state === "sending") this.#speed.reset(upload.sentBytes);
      else this.#say("");
      this.#show(state);
    });
    upload.on("plan", (resource) => {
      this.uploadId = resource.id;
      remember({ uploadId: resource.id, filename: resource.filename, size: this.#file.size, fingerprint: this.fingerprint ?? "" });
      this.#map.setCount(resource.partCount ?? 0);
      this.#resumedBytes = upload.storedBytes;
      this.#speed.reset(upload.sentBytes);
      this.#renderPlan(resource);
    });
    upload.on("part", ({ partNumber, state, sentBytes, size }) => {
      this.#map.setPart(partNumber, state, sentBytes / size);
      if (state === "stored") this.#say("");
    });
    upload.on("progress", () => this.#scheduleRender());
    upload.on("retry", ({ error, delayMs, partNumber }) => {
      this.retrying(error, delayMs, partNumber);
      if (upload.resource) this.#renderPlan(upload.resource);
    });
  }

  /** @param {UploadError} error */
  #failed(error) {
    if (this.state === "cancelled" || error.code === "cancelled") {
      if (this.uploadId) forget(this.uploadId);
      return this.#show("cancelled");
    }
    if (GONE.includes(error.code) && this.uploadId) {
      forget(this.uploadId);
      this.uploadId = undefined;
    }
    this.#say(explain(error), "error");
    this.#show("failed");
    this.#find("retry").hidden = HOPELESS.includes(error.code);
  }

  #cancel() {
    if (this.upload) this.upload.cancel();
    else this.#show("cancelled");
  }

  #dismiss() {
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling ?? document.getElementById("files");
    this.element.remove();
    /** @type {HTMLElement} */ (next).focus();
    this.#page.changed();
  }

  /** @param {CardState} state */
  #show(state) {
    const changed = this.state !== state;
    const hadFocus = this.element.contains(document.activeElement) && document.activeElement !== this.element;
    this.state = state;
    this.element.dataset.state = state;
    this.#find("status-text").textContent = STATUS[state];
    this.element.querySelector("use")?.setAttribute("href", `#icon-${state}`);
    for (const name of ["pause", "cancel", "retry", "download", "dismiss"]) this.#find(name).hidden = !CONTROLS[state].includes(name);
    this.#find("pause").textContent = state === "paused" ? "Resume" : "Pause";
    this.#label("pause");
    // A control that has just gone must not take the focus with it.
    if (hadFocus && /** @type {HTMLElement} */ (document.activeElement).offsetParent === null) this.#focusControl();

    clearInterval(this.#timer);
    if (state === "sending") this.#timer = setInterval(() => this.#render(), FIGURES_MS);
    this.#render();
    this.#map.redraw();
    if (changed && state !== "preparing") this.#page.announce(`${this.#file.name}: ${STATUS[state]}. ${this.#find("message").textContent}`);
    if (changed) this.#page.changed();
  }

  #focusControl() {
    const control = [...this.element.querySelectorAll("button, a")].find((each) => !(/** @type {HTMLElement} */ (each).hidden));
    /** @type {HTMLElement} */ (control ?? this.element).focus();
  }

  #scheduleRender() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #render() {
    const { upload } = this;
    if (!upload || this.state === "completed") return;
    const { size } = this.#file;
    const sent = Math.min(upload.sentBytes, size);
    const percent = upload.resource && size > 0 ? Math.floor((sent / size) * 100) : 0;
    this.#setBar(percent, size > 0 ? sent / size : 0);
    this.#find("amount").textContent = upload.resource ? `${formatBytes(sent)} of ${formatBytes(size)}` : formatBytes(size);

    const speed = this.state === "sending" ? this.#speed.update(sent) : undefined;
    this.#find("speed").textContent = speed ? `${formatBytes(speed)}/s` : "";
    this.#find("left").textContent = speed ? formatTimeLeft(((size - sent) / speed) * 1000) : "";

    const quarter = Math.floor(percent / 25);
    if (this.state === "sending" && quarter > this.#announcedQuarter && quarter < 4) {
      this.#announcedQuarter = quarter;
      this.#page.announce(`${this.#file.name}: ${quarter * 25} percent.`);
    }
  }

  /**
   * @param {number} percent
   * @param {number} [fill]
   */
  #setBar(percent, fill = percent / 100) {
    const bar = this.#find("bar");
    this.#find("bar-fill").style.transform = `scaleX(${fill})`;
    if (bar.getAttribute("aria-valuenow") === String(percent) && bar.hasAttribute("aria-valuetext")) return;
    bar.setAttribute("aria-valuenow", String(percent));
    bar.setAttribute("aria-valuetext", `${percent} percent of ${formatBytes(this.#file.size)}`);
    const counts = this.#map.counts();
    const words = Object.entries(counts).map(([state, count]) => `${count} ${WORDS[/** @type {keyof counts} */ (state)]}`);
    this.#find("map").setAttribute("aria-label", `Parts: ${words.join(", ")}`);
  }

  /** @param {UploadResource} resource */
  #renderPlan({ partCount = 0, partSize }) {
    const parts = partCount === 1 ? "1 part" : `${partCount} parts of ${formatPartSize(partSize)}`;
    const resumed = this.#resumedBytes > 0 ? `${formatBytes(this.#resumedBytes)} were there already` : "";
    const retries = this.#retries > 0 ? `${this.#retries} ${this.#retries === 1 ? "retry" : "retries"}` : "";
    this.#find("plan").textContent = [partCount > 0 ? parts : "", resumed, retries].filter(Boolean).join(" · ");
  }

  /**
   * @param {string} text
   * @param {"info" | "error"} [kind]
   */
  #say(text, kind = "info") {
    const message = this.#find("message");
    message.textContent = text;
    message.dataset.kind = kind;
    message.hidden = text === "";
  }

  /** Names a control for those who hear it out of its context. @param {string} name */
  #label(name) {
    const control = this.#find(name);
    control.setAttribute("aria-label", `${control.textContent} ${this.#file.name}`);
  }

  /**
   * @param {string} name
   * @returns {HTMLElement}
   */
  #find(name) {
    return /** @type {HTMLElement} */ (this.element.querySelector(`.${name}`));
  }
}

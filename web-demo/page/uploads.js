// @ts-check
/** The list of uploads: whose turn it is, and what is done with all of them at once. */
import { startActivity } from "./activity.js";
import { announce } from "./announcer.js";
import { UploadCard } from "./card.js";
import { byId } from "./dom.js";
import { onLanguage, t } from "./i18n.js";

/** @typedef {import("./intake.js").Incoming} Incoming */
/** @typedef {import("./card.js").Page} Page */

/** So many files are sent at once; they share the connections to S3. */
const AT_ONCE = 2;
/** More cards than this help nobody: files beyond wait without, and what is done leaves for the list of files. */
const MOST_CARDS = 60;

export class Uploads {
  /** @type {UploadCard[]} */
  cards = [];
  /** @type {Incoming[]} */
  #waiting = [];
  #page;
  #activity;

  /**
   * @param {Omit<Page, "changed" | "happened">} page
   * @param {{ happened: Page["happened"], completed: () => void }} told
   */
  constructor(page, { happened, completed }) {
    this.#activity = startActivity(() => ({ cards: this.cards, waiting: this.#waiting }));
    this.#page = {
      ...page,
      /** @param {import("../client/index.js").UploadEvent} event @param {UploadCard} card */
      happened: (event, card) => {
        this.#activity.happened(event, card);
        happened(event, card);
      },
      /** @param {UploadCard} card */
      changed: (card) => {
        this.#activity.changed();
        if (card.state === "completed") completed();
        this.#next();
      },
    };
    this.#everyone("pause-all", (card) => ["sending", "offline", "preparing"].includes(card.state) && card.upload?.pause());
    this.#everyone("resume-all", (card) => card.state === "paused" && card.upload?.resume());
    this.#everyone("retry-all", (card) => card.canRetry && card.start());
    this.#everyone("clear-ended", (card) => card.isEnded && card.element.remove());
    this.#everyone("cancel-all", (card) => !card.isEnded && card.cancel());
    byId("cancel-all").addEventListener("click", () => (this.#waiting = []), { capture: true });
    onLanguage(() => {
      for (const card of this.cards) card.retranslate();
      this.#render();
    });
  }

  /** @param {Incoming[]} files */
  add(files) {
    const here = files.filter(({ file }) => this.#waiting.length > 0 || !this.#isHere(file));
    if (here.length < files.length) announce(t("alreadyHere"));
    this.#waiting.push(...here);
    this.#next();
  }

  /**
   * Goes on with an open upload.
   *
   * @param {string} uploadId
   * @param {{ name: string, size: number, file?: File }} source
   */
  goOn(uploadId, source) {
    const card = new UploadCard(this.#page, source);
    card.uploadId = uploadId;
    this.#show(card);
    card.start();
    return card;
  }

  /** @param {string} uploadId */
  has(uploadId) {
    return this.cards.some((card) => card.uploadId === uploadId && !card.isEnded);
  }

  /**
   * The very same file, chosen twice. (What is the same by its content the client notices.)
   *
   * @param {File} file
   */
  #isHere({ name, size, lastModified }) {
    return this.cards.some(({ isEnded, source }) =>
      !isEnded && source.name === name && source.size === size && source.file?.lastModified === lastModified);
  }

  #next() {
    this.cards = this.cards.filter((card) => card.element.isConnected);
    for (const card of this.cards.filter(({ state }) => state === "completed").slice(0, Math.max(this.cards.length - MOST_CARDS, 0))) {
      card.element.remove();
    }
    while (this.#waiting.length > 0 && this.cards.length < MOST_CARDS) {
      const { file, handle, partSize } = /** @type {Incoming} */ (this.#waiting.shift());
      this.#show(new UploadCard(this.#page, { name: file.name, size: file.size, file, handle, partSize }));
    }
    const isFree = () => this.cards.filter(({ isBusy }) => isBusy).length < AT_ONCE;
    for (const card of this.cards) if (isFree() && card.state === "waiting") card.start();
    this.#render();
  }

  /** @param {UploadCard} card */
  #show(card) {
    this.cards.push(card);
    byId("uploads").append(card.element);
    this.#render();
  }

  #render() {
    const has = (/** @type {(card: UploadCard) => unknown} */ test) => this.cards.some(test);
    byId("uploads-section").hidden = this.cards.length === 0;
    byId("pause-all").hidden = !has((card) => ["sending", "offline"].includes(card.state));
    byId("resume-all").hidden = !has((card) => card.state === "paused");
    byId("retry-all").hidden = !has((card) => card.canRetry);
    byId("cancel-all").hidden = !has((card) => !card.isEnded);
    byId("clear-ended").hidden = !has((card) => card.isEnded);
    const more = byId("waiting-more");
    more.hidden = this.#waiting.length === 0;
    more.textContent = more.hidden ? "" : t("waiting.more", { count: this.#waiting.length });
  }

  /**
   * @param {string} id of a button
   * @param {(card: UploadCard) => unknown} act
   */
  #everyone(id, act) {
    byId(id).addEventListener("click", () => {
      for (const card of [...this.cards]) act(card);
      this.#next();
      if (byId(id).hidden) (this.cards[0]?.element ?? byId("files")).focus();
    });
  }
}

// @ts-check
/** The map of an upload's parts, one cell each: elements while they are few, beyond that drawn, so that ten thousand are light. */
import { formatPercent, t } from "./i18n.js";

/** @typedef {import("../client/index.js").PartState} PartState */

/** From so many parts on the map is drawn. */
const DRAWN_FROM = 300;

/** Heights that a cell may have; the first with which the map stays below its own limit is taken. */
const CELL_HEIGHTS = [22, 18, 14, 11, 9, 7, 5, 4];
const MAX_HEIGHT = 150;

/**
 * States differ in shape as well as in colour: pending is hollow, sending fills from the left, stored is solid, and a
 * part that is tried again is hollow with a stroke through it.
 */
export class PartMap {
  #cells;
  #canvas;
  #context;
  /** @type {PartState[]} */
  #states = [];
  /** How much of each part has gone, 0 to 1. @type {number[]} */
  #fills = [];
  /** The connection that sends each part. @type {(number | undefined)[]} */
  #lanes = [];
  /** @type {Set<number> | "all"} */
  #dirty = "all";
  #frame = 0;
  #isMirrored = false;
  #columns = 1;
  #cellWidth = 1;
  #cellHeight = 1;
  #observer;

  /**
   * @param {HTMLElement} cells
   * @param {HTMLCanvasElement} canvas its colours are the custom properties `--map-…` that apply to it
   */
  constructor(cells, canvas) {
    this.#cells = cells;
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.#observer = new ResizeObserver(() => this.redraw());
    this.#observer.observe(canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.redraw());
    }
    canvas.addEventListener("pointermove", (event) => (canvas.title = this.#describePartAt(event.offsetX, event.offsetY)));
  }

  /** @param {number} count */
  setCount(count) {
    this.#states = new Array(count).fill("pending");
    this.#fills = new Array(count).fill(0);
    this.#lanes = new Array(count);
    this.#cells.hidden = count === 0 || count >= DRAWN_FROM;
    this.#canvas.hidden = count < DRAWN_FROM;
    const cells = this.#cells.hidden ? 0 : count;
    this.#cells.replaceChildren(...Array.from({ length: cells }, () => document.createElement("span")));
    this.redraw();
  }

  /** What it shows, in words. */
  describe() {
    const label = t("map.label", this.counts());
    for (const map of [this.#cells, this.#canvas]) map.setAttribute("aria-label", label);
  }

  /** Neighbours in the same state as one; those being sent each by itself. */
  runs() {
    /** @type {{ first: number, last: number, state: PartState, fill: number, lane?: number }[]} */
    const runs = [];
    this.#states.forEach((state, index) => {
      const run = runs.at(-1);
      if (run && run.state === state && state !== "sending") run.last = index + 1;
      else runs.push({ first: index + 1, last: index + 1, state, fill: this.#fills[index], lane: this.#lanes[index] });
    });
    return runs;
  }

  /**
   * @param {number} partNumber
   * @param {PartState} state
   * @param {number} fill how much of it has gone, 0 to 1
   * @param {number} [lane] the connection that sends it
   */
  setPart(partNumber, state, fill, lane) {
    this.#lanes[partNumber - 1] = lane;
    this.#states[partNumber - 1] = state;
    this.#fills[partNumber - 1] = fill;
    if (this.#dirty !== "all") this.#dirty.add(partNumber - 1);
    this.#schedule();
  }

  /** How many parts are in each state. */
  counts() {
    const counts = { pending: 0, sending: 0, retrying: 0, stored: 0 };
    for (const state of this.#states) counts[state]++;
    return counts;
  }

  /** Draws everything again, for example because the colours have changed. */
  redraw() {
    this.#dirty = "all";
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #layOut() {
    const width = this.#canvas.clientWidth;
    const count = this.#states.length;
    for (const height of CELL_HEIGHTS) {
      this.#cellHeight = height;
      // As few rows as cells about square allow; then as wide as fills them evenly.
      const rows = Math.ceil(count / Math.max(1, Math.floor(width / height)));
      this.#columns = Math.ceil(count / rows);
      if (rows * height <= MAX_HEIGHT) break;
    }
    this.#cellWidth = width / this.#columns;
    const height = Math.ceil(count / this.#columns) * this.#cellHeight;
    this.#canvas.style.height = `${height}px`;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#context.scale(scale, scale);
  }

  #draw() {
    if (!this.#cells.hidden) {
      const changed = this.#dirty === "all" ? this.#states.keys() : this.#dirty;
      for (const index of changed) this.#show(index);
      this.#dirty = new Set();
      return;
    }
    if (this.#states.length === 0 || this.#canvas.clientWidth === 0) return;
    const style = getComputedStyle(this.#canvas);
    /** @param {string} name */
    const colour = (name) => style.getPropertyValue(`--map-${name}`);
    const colours = { line: colour("pending"), sending: colour("sending"), stored: colour("stored"), retrying: colour("retrying") };
    this.#isMirrored = style.direction === "rtl";
    if (this.#dirty === "all") {
      this.#layOut();
      for (let index = 0; index < this.#states.length; index++) this.#drawCell(index, colours);
    } else {
      for (const index of this.#dirty) this.#drawCell(index, colours);
    }
    this.#dirty = new Set();
  }

  /** @param {number} index */
  #show(index) {
    const cell = /** @type {HTMLElement} */ (this.#cells.children[index]);
    const state = this.#states[index];
    cell.className = state;
    cell.style.setProperty("--fill", String(state === "sending" ? this.#fills[index] : 0));
    cell.title = t("part.title", { part: index + 1, state: t(`part.${state}`) });
  }

  /**
   * @param {number} index
   * @param {{ line: string, sending: string, stored: string, retrying: string }} colours
   */
  #drawCell(index, colours) {
    const context = this.#context;
    const state = this.#states[index];
    const gap = this.#cellHeight > 8 ? 3 : 1;
    const column = this.#isMirrored ? this.#columns - 1 - (index % this.#columns) : index % this.#columns;
    // Whole pixels, or the edges blur.
    const x = Math.round(column * this.#cellWidth);
    const y = Math.floor(index / this.#columns) * this.#cellHeight;
    const width = Math.max(Math.round((column + 1) * this.#cellWidth) - x - (column + 1 < this.#columns ? gap : 0), 1);
    const height = this.#cellHeight - gap;
    const radius = Math.min(3, height / 4);
    context.clearRect(x, y, width, height);

    context.save();
    context.beginPath();
    context.roundRect(x, y, width, height, radius);
    if (state === "stored") {
      context.fillStyle = colours.stored;
      context.fill();
    } else {
      context.clip();
      if (state === "sending") {
        context.fillStyle = colours.sending;
        context.fillRect(x, y, width * this.#fills[index], height);
      }
      context.strokeStyle = state === "pending" ? colours.line : colours[state];
      context.lineWidth = this.#cellHeight > 8 ? 3 : 1.5; // the clip leaves the inner half
      context.stroke();
      if (state === "retrying") {
        context.beginPath();
        context.moveTo(x, y + height);
        context.lineTo(x + Math.min(width, height * 2), y);
        context.stroke();
      }
    }
    context.restore();
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #describePartAt(x, y) {
    const fromLeft = Math.floor(x / this.#cellWidth);
    const column = this.#isMirrored ? this.#columns - 1 - fromLeft : fromLeft;
    const index = Math.floor(y / this.#cellHeight) * this.#columns + column;
    const state = this.#states[index];
    if (!state) return "";
    const words = state === "sending" ? formatPercent(this.#fills[index]) : t(`part.${state}`);
    return t("part.title", { part: index + 1, state: words });
  }
}

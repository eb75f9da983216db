// @ts-check
/** The parts as a table, for those who do not see the map: neighbours in the same state share a row, so that it stays short. */
import { find, make } from "./dom.js";
import { formatPercent, t } from "./i18n.js";

/** @typedef {import("./part-map.js").PartMap} PartMap */

const REFRESH_MS = 1000;

export class PartTable {
  #details;
  #map;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {HTMLDetailsElement} details
   * @param {PartMap} map
   */
  constructor(details, map) {
    this.#details = details;
    this.#map = map;
    details.addEventListener("toggle", () => {
      clearInterval(this.#timer);
      if (!details.open) return;
      this.render();
      this.#timer = setInterval(() => (details.isConnected ? this.render() : clearInterval(this.#timer)), REFRESH_MS);
    });
  }

  render() {
    if (!this.#details.open) return;
    const rows = this.#map.runs().map(({ first, last, state, fill, lane }) => {
      const parts = first === last ? String(first) : `${first}–${last}`;
      const sent = state === "stored" ? 1 : state === "sending" ? fill : 0;
      return make("tr", {},
        Object.assign(make("th", {}, parts), { scope: "row" }),
        make("td", {}, t(`part.${state}`)),
        make("td", {}, formatPercent(sent)),
        make("td", {}, lane === undefined || state !== "sending" ? "" : String(lane + 1)),
      );
    });
    find(this.#details, "rows").replaceChildren(...rows);
  }
}

// @ts-check
/** Lists of part numbers as the service writes them: `"1-40,88"`. */

/**
 * @param {string | undefined} text for example `"1-3,7"`; empty or absent is no part
 * @returns {number[]} for example `[1, 2, 3, 7]`
 */
export function parseRanges(text) {
  /** @type {number[]} */
  const numbers = [];
  for (const range of text ? text.split(",") : []) {
    const [first, last = first] = range.split("-").map(Number);
    for (let number = first; number <= last; number++) numbers.push(number);
  }
  return numbers;
}

/**
 * @param {number[]} numbers ascending, for example `[1, 2, 3, 7]`
 * @returns {string} for example `"1-3,7"`
 */
export function formatRanges(numbers) {
  /** @type {[number, number][]} */
  const ranges = [];
  for (const number of numbers) {
    const range = ranges.at(-1);
    if (range && number === range[1] + 1) range[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

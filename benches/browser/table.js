// @ts-check
/** @typedef {import("./scenarios.js").Found} Found */

/** @param {number[]} numbers */
function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @param {number} number */
const short = (number) => (Number.isInteger(number) || Math.abs(number) >= 100 ? number.toFixed(0) : number.toFixed(1));

/**
 * What the rounds of one client found: the median, and from where to where; of words, each once.
 *
 * @param {(number | string | undefined)[]} values
 */
function cell(values) {
  const known = values.filter((value) => value !== undefined);
  const numbers = known.filter((value) => typeof value === "number");
  const words = known.filter((value) => typeof value === "string");
  const told = [...new Set(words)].map((word) => {
    const times = words.filter((each) => each === word).length;
    return times === known.length ? word : `${word} (${times} of ${known.length})`;
  });
  if (numbers.length > 0) {
    const [least, most] = [short(Math.min(...numbers)), short(Math.max(...numbers))];
    told.unshift(least === most ? least : `${short(median(numbers))} (${least}–${most})`);
  }
  return told.join("; ") || "–";
}

/**
 * @param {{ title: string, partita: Found[], uppy: Found[] }[]} results
 * @returns {string} Markdown
 */
export function table(results) {
  const lines = ["| | Partita | Uppy + Companion |", "|---|---|---|"];
  for (const { title, partita, uppy } of results) {
    lines.push(`| **${title}** | | |`);
    const names = new Set([...partita, ...uppy].flatMap((found) => Object.keys(found)));
    for (const name of names) {
      lines.push(`| ${name} | ${cell(partita.map((found) => found[name]))} | ${cell(uppy.map((found) => found[name]))} |`);
    }
  }
  return lines.join("\n");
}

// @ts-check
/** What `checksum.js` has done beside the page: answers `{ id, task }` with `{ id, result }` or `{ id, error }`. */
import { combine, sum } from "./crc64.js";

/** @type {{ postMessage: (message: unknown) => void }} */
const page = /** @type {any} */ (globalThis);

globalThis.addEventListener("message", async ({ data: { id, task } }) => {
  try {
    const result = "file" in task ? await sum(task.file, task.ranges) : combine(task.sums, task.partSize, task.lastSize);
    page.postMessage({ id, result });
  } catch (error) {
    page.postMessage({ id, error });
  }
});

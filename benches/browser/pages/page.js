// @ts-check
/** What both pages have. */

const query = new URLSearchParams(location.search);

/** What the address says. */
export const options = {
  endpoint: query.get("endpoint") ?? "",
  /** In bytes; otherwise the client's own default. */
  partSize: query.has("partSize") ? Number(query.get("partSize")) : undefined,
  /** Whether Uppy is to have Golden Retriever. */
  retriever: query.has("retriever"),
};

/** The file in the page's input. */
export function chosen() {
  const { files } = /** @type {HTMLInputElement} */ (document.getElementById("file"));
  if (!files?.[0]) throw new Error("no file is chosen");
  return files[0];
}

addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  window.dropped = event.dataTransfer?.items[0].getAsFileSystemHandle();
});

// @ts-check
/** How files get in: chosen, dropped, pasted, whole folders, or a sample. */
import { byId } from "./dom.js";

/**
 * A file, and the handle by which the browser finds it again, where it gives one.
 *
 * @typedef {{ file: File, handle?: FileSystemFileHandle, partSize?: number }} Incoming
 */

const SAMPLE_NAME = "sample.bin";
const SAMPLE_SIZE = 60 * 1024 * 1024;
const SAMPLE_PART = 5 * 1024 * 1024;

/** @param {(files: Incoming[]) => void} take */
export function startIntake(take) {
  for (const id of ["files", "folder"]) {
    const input = /** @type {HTMLInputElement} */ (byId(id));
    input.addEventListener("change", () => {
      take([...(input.files ?? [])].map((file) => ({ file })));
      input.value = ""; // so that the same file can be chosen again
    });
  }
  byId("files").addEventListener("click", async (/** @type {MouseEvent} */ event) => {
    // With handles a crashed browser goes on by itself; where there are none, the plain input is as good.
    if (!("showOpenFilePicker" in window) || !event.isTrusted) return;
    event.preventDefault();
    const chosen = await pickFiles();
    if (chosen) take(chosen);
  });
  byId("sample").addEventListener("click", async () => take([await makeSample()]));
  takeDrops(take);
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) take(files.map((file) => ({ file })));
  });
}

/** @returns {Promise<Incoming[] | undefined>} nothing if the visitor changed their mind */
async function pickFiles() {
  try {
    /** @type {FileSystemFileHandle[]} */
    const handles = await /** @type {any} */ (window).showOpenFilePicker({ multiple: true });
    return await Promise.all(handles.map(async (handle) => ({ file: await handle.getFile(), handle })));
  } catch {
    return undefined;
  }
}

/** Files may be dropped anywhere. @param {(files: Incoming[]) => void} take */
function takeDrops(take) {
  const { dataset } = document.body;
  /** @param {DragEvent} event */
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    dataset.dragging = "";
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) delete dataset.dragging;
  });
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    delete dataset.dragging;
    // All at once, for after the first pause the browser takes them away.
    const dropped = [...(event.dataTransfer?.items ?? [])].filter(({ kind }) => kind === "file").map((item) => ({
      entry: item.webkitGetAsEntry?.(),
      file: item.getAsFile(),
      handle: /** @type {any} */ (item).getAsFileSystemHandle?.().catch(() => null),
    }));
    const files = await Promise.all(
      dropped.map(async ({ entry, file, handle }) => {
        if (entry?.isDirectory) return filesIn(/** @type {FileSystemDirectoryEntry} */ (entry));
        const found = await handle;
        return file ? [{ file, handle: found?.kind === "file" ? found : undefined }] : [];
      }),
    );
    take(files.flat());
  });
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<Incoming[]>} of all files in it, however deep
 */
async function filesIn(folder) {
  const reader = folder.createReader();
  /** @type {Incoming[]} */
  const files = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (entries.length === 0) return files;
    for (const entry of entries) {
      if (entry.isDirectory) files.push(...(await filesIn(/** @type {FileSystemDirectoryEntry} */ (entry))));
      else await new Promise((resolve) => /** @type {FileSystemFileEntry} */ (entry).file((file) => resolve(files.push({ file })), resolve));
    }
  }
}

/** Random bytes, kept where the browser finds them again: a reload in the middle goes on by itself. @returns {Promise<Incoming>} */
async function makeSample() {
  const block = crypto.getRandomValues(new Uint8Array(65_536));
  const bytes = new Blob(Array.from({ length: SAMPLE_SIZE / block.length }, () => block));
  const file = new File([bytes], SAMPLE_NAME);
  try {
    const folder = await navigator.storage.getDirectory();
    const handle = await folder.getFileHandle(SAMPLE_NAME, { create: true });
    const writable = await handle.createWritable();
    await writable.write(bytes);
    await writable.close();
    return { file: await handle.getFile(), handle, partSize: SAMPLE_PART };
  } catch {
    return { file, partSize: SAMPLE_PART }; // it is lost with the page
  }
}

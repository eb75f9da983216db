// @ts-check
/** The demo page: takes files, queues them, and offers what was left unfinished. */
import { fingerprint, Partita, UploadError } from "./partita.js";
import { forget, remembered } from "./memory.js";
import { UploadCard } from "./upload-card.js";
import { explain, formatAgo, formatBytes } from "./words.js";

/** @typedef {import("./partita.js").UploadResource} UploadResource */

const client = new Partita();
/** @type {UploadCard[]} */
let cards = [];
/** The offers on the page, by upload id. @type {Map<string, HTMLElement>} */
const offers = new Map();

const fileInput = /** @type {HTMLInputElement} */ (byId("files"));

/** @type {import("./upload-card.js").Page} */
const page = { client, announce, changed, findOpen };

fileInput.addEventListener("change", () => {
  add(fileInput.files);
  fileInput.value = ""; // so that the same file can be chosen again
});
takeDrops();
byId("curl").textContent = curlLine();
offerUnfinished().catch((error) => notice(explain(UploadError.from(error))));

/** @param {Iterable<File> | null} files */
function add(files) {
  for (const file of files ?? []) addCard(new UploadCard(page, file));
}

/** @param {UploadCard} card */
function addCard(card) {
  cards.push(card);
  byId("uploads").append(card.element);
  changed();
}

/** A card began, came to rest or left: starts the next one if the line is free. */
function changed() {
  cards = cards.filter((card) => card.element.isConnected);
  byId("uploads-section").hidden = cards.length === 0;
  if (!cards.some((card) => card.busy)) cards.find((card) => card.state === "waiting")?.start();
}

/**
 * @param {string} fingerprint
 * @param {UploadCard} card
 */
async function findOpen(fingerprint, card) {
  if (cards.some((other) => other !== card && !other.ended && other.fingerprint === fingerprint)) {
    throw new UploadError("already-here", "This file is being uploaded already.");
  }
  const [open] = await client.openUploads({ fingerprint, onRetry: (error, delayMs) => card.retrying(error, delayMs) });
  if (open) withdrawOffer(open.id);
  return open;
}

/** Offers the open uploads of this visitor, wherever they were begun, and shows what was finished meanwhile. */
async function offerUnfinished() {
  const memos = remembered();
  const open = await client.openUploads({ onRetry: (error) => notice(`${explain(error)} Trying again…`) });
  notice("");
  for (const upload of open) if (!cards.some((card) => card.uploadId === upload.id)) offer(upload);
  for (const { uploadId } of memos.filter((memo) => !open.some(({ id }) => id === memo.uploadId))) {
    const upload = await client.getUpload(uploadId).catch(() => undefined);
    if (upload?.state === "completing") continue; // the service is at it; the next visit will tell
    forget(uploadId);
    if (upload?.state !== "completed") continue;
    const card = new UploadCard(page, { name: upload.filename, size: upload.size ?? 0 });
    card.finished(upload);
    addCard(card);
  }
}

/** @param {UploadResource} upload */
function offer(upload) {
  const { id, filename, size = 0, partCount = 0, recordedParts, recordedBytes } = upload;
  const template = /** @type {HTMLTemplateElement} */ (byId("offer-template"));
  const element = /** @type {HTMLElement} */ (template.content.querySelector("li")?.cloneNode(true));
  /** @param {string} name */
  const find = (name) => /** @type {HTMLElement} */ (element.querySelector(name));
  const percent = size > 0 ? Math.floor((recordedBytes / size) * 100) : 0;
  find(".name").textContent = filename;
  find(".name").title = filename;
  find(".amount").textContent = `${recordedParts} of ${partCount} parts stored · ${formatBytes(size)} · begun ${formatAgo(upload.createdAt)}`;
  find(".bar").setAttribute("aria-label", `Progress of ${filename}`);
  find(".bar").setAttribute("aria-valuenow", String(percent));
  find(".bar").setAttribute("aria-valuetext", `${percent} percent of ${formatBytes(size)}`);
  find(".bar-fill").style.transform = `scaleX(${percent / 100})`;
  find(".discard").setAttribute("aria-label", `Discard ${filename}`);

  const input = /** @type {HTMLInputElement} */ (find(".choose"));
  input.id = `choose-${id}`;
  find("label").setAttribute("for", input.id);
  input.setAttribute("aria-label", `Choose the file ${filename}`);
  const message = find(".message");
  /** @param {string} text */
  const say = (text) => {
    message.textContent = text;
    message.hidden = text === "";
  };
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    const refusal = await mismatch(upload, file);
    say(refusal);
    if (refusal) return;
    const card = new UploadCard(page, file);
    card.uploadId = id;
    withdrawOffer(id);
    addCard(card);
    card.element.focus();
  });
  find(".discard").addEventListener("click", async () => {
    try {
      await client.abort(id);
      forget(id);
      withdrawOffer(id);
      announce(`${filename}: discarded.`);
      fileInput.focus();
    } catch (error) {
      say(explain(UploadError.from(error)));
    }
  });
  offers.set(id, element);
  byId("offers").append(element);
  byId("offers-section").hidden = false;
}

/** @param {string} id */
function withdrawOffer(id) {
  offers.get(id)?.remove();
  offers.delete(id);
  byId("offers-section").hidden = offers.size === 0;
}

/**
 * Why this file cannot go on with that upload; empty if it can.
 *
 * @param {UploadResource} upload
 * @param {File} file
 */
async function mismatch(upload, file) {
  if (file.size !== upload.size) {
    return `“${file.name}” is another file: it has ${formatBytes(file.size)}, the unfinished one ${formatBytes(upload.size ?? 0)}.`;
  }
  try {
    if ((await fingerprint(file)) === upload.fingerprint) return "";
    return `“${file.name}” is another file: it has the same size, but its content differs from what was begun.`;
  } catch (error) {
    return explain(UploadError.from(error));
  }
}

/** Files may be dropped anywhere. */
function takeDrops() {
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
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    delete dataset.dragging;
    const items = [...(event.dataTransfer?.items ?? [])];
    const folders = items.some((item) => item.webkitGetAsEntry?.()?.isDirectory);
    notice(folders ? "Folders are left out: drop the files in them." : "");
    const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
    add(files.filter((file) => file !== null));
  });
}

/** @param {string} text */
function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = text === "";
}

/** @param {string} text */
function announce(text) {
  byId("live").textContent = text;
}

function curlLine() {
  return `f=photo.jpg  # up to 5 GiB, as a single part
u=$(curl -s ${location.origin}/v1/uploads -H 'Content-Type: application/json' \\
  -d '{"filename": "'"$f"'", "size": '$(wc -c < "$f")', "autoComplete": true,
       "partSize": 5368709120}')
curl -T "$f" "$(echo "$u" | grep -o '"url":"[^"]*' | cut -c8-)"
curl ${location.origin}/v1/files/$(echo "$u" | grep -o '"id":"[^"]*' | head -1 | cut -c7-)`;
}

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

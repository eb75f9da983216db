// @ts-check
/** What was left unfinished, in this browser or elsewhere: offered on top, and gone on with as little effort as there can be. */
import { fingerprint, UploadError } from "../client/index.js";
import { announce } from "./announcer.js";
import { byId, find, fromTemplate } from "./dom.js";
import { explain } from "./explain.js";
import { formatAgo, formatBytes, formatPercent, onLanguage, t, translate } from "./i18n.js";

/** @typedef {import("../client/index.js").Resumable} Resumable */

/** The offers on the page, by upload id. @type {Map<string, { element: HTMLElement, label: () => void }>} */
const offers = new Map();

/**
 * @param {import("../client/index.js").Partita} client
 * @param {import("./uploads.js").Uploads} uploads
 * @param {(text: string) => void} notice
 */
export async function offerUnfinished(client, uploads, notice) {
  onLanguage(() => {
    for (const { element, label } of offers.values()) {
      translate(element);
      label();
    }
  });
  const found = await client.listResumable({ onRetry: (error) => notice(t("retrying.call", { reason: explain(error) })) });
  notice("");
  for (const resumable of found) {
    const { id, filename: name, size, file, isActive } = resumable;
    if (uploads.has(id)) continue;
    // At hand, or to be watched: nobody need be asked.
    if (isActive || file === "ready") uploads.goOn(id, { name, size });
    else offer(resumable, client, uploads);
  }
}

/** @param {string | undefined} id of an upload that goes on by other ways */
export function withdrawOffer(id = "") {
  offers.get(id)?.element.remove();
  offers.delete(id);
  byId("offers-section").hidden = offers.size === 0;
}

/**
 * @param {Resumable} resumable
 * @param {import("../client/index.js").Partita} client
 * @param {import("./uploads.js").Uploads} uploads
 */
function offer({ id, filename: name, size, storedBytes, createdAt, isHere, file: way, upload }, client, uploads) {
  const element = fromTemplate("offer-template");
  translate(element);
  const share = size > 0 ? storedBytes / size : 0;
  find(element, "name").textContent = find(element, "name").title = name;
  find(element, "bar-fill").style.transform = `scaleX(${share})`;
  const input = find(element, "choose");
  input.id = `choose-${id}`;
  element.querySelector("label")?.setAttribute("for", input.id);
  const label = () => {
    const said = t("unfinished.amount", { percent: formatPercent(share), size: formatBytes(size), ago: formatAgo(createdAt) });
    find(element, "amount").textContent = isHere ? `${said} · ${t("unfinished.here")}` : said;
    const bar = find(element, "bar");
    bar.setAttribute("aria-label", t("progress.of", { name }));
    bar.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
    bar.setAttribute("aria-valuetext", t("progress.value", { percent: formatPercent(share), size: formatBytes(size) }));
    find(element, "discard").setAttribute("aria-label", t("named", { action: t("unfinished.discard"), name }));
    find(element, "continue").setAttribute("aria-label", t("named", { action: t("unfinished.continue"), name }));
    input.setAttribute("aria-label", t("unfinished.chooseNamed", { name }));
  };
  label();

  const message = find(element, "message");
  /** @param {string} text */
  const say = (text) => {
    message.textContent = text;
    message.hidden = text === "";
  };
  /** @param {File} [file] */
  const goOn = (file) => {
    withdrawOffer(id);
    const card = uploads.goOn(id, { name: file?.name ?? name, size, file });
    card.element.focus();
    return card;
  };
  input.addEventListener("change", async () => {
    const [file] = input.files ?? [];
    input.value = "";
    if (!file) return;
    const refusal = await mismatch(upload, file);
    say(refusal);
    if (!refusal) goOn(file);
  });
  find(element, "continue").hidden = way !== "ask";
  find(element, "continue").onclick = () => {
    const card = goOn();
    // The browser may say no: then the file can still be chosen.
    card.upload?.catch((error) => {
      if (error.code !== "file-needed") return;
      card.element.remove();
      offer({ id, filename: name, size, storedBytes, createdAt, isHere, file: "choose", isActive: false, upload }, client, uploads);
      announce(t("unfinished.notAllowed"));
    });
  };
  find(element, "discard").onclick = async () => {
    try {
      await client.abort(id);
      withdrawOffer(id);
      announce(t("announce.discarded", { name }));
      byId("files").focus();
    } catch (error) {
      say(explain(UploadError.from(error)));
    }
  };
  offers.set(id, { element, label });
  byId("offers").append(element);
  byId("offers-section").hidden = false;
}

/**
 * Why this file cannot go on with that upload; empty if it can.
 *
 * @param {import("../client/index.js").UploadResource} upload
 * @param {File} file
 */
async function mismatch(upload, file) {
  const { name } = file;
  if (file.size !== upload.size) {
    return t("unfinished.differentSize", { name, size: formatBytes(file.size), expected: formatBytes(upload.size ?? 0) });
  }
  try {
    return (await fingerprint(file)) === upload.fingerprint ? "" : t("unfinished.differentContent", { name });
  } catch (error) {
    return explain(UploadError.from(error));
  }
}

// @ts-check
/** The demo page: puts its pieces together. */
import { Partita, UploadError } from "./client/index.js";
import { byId } from "./page/dom.js";
import { explain } from "./page/explain.js";
import { currentLanguage, LANGUAGES, setLanguage, translate } from "./page/i18n.js";
import { startIntake } from "./page/intake.js";
import { fetchThrough, networkMode, sendThrough, setNetworkMode, startNetwork } from "./page/network.js";
import { currentToken, isSignedIn, startSignIn } from "./page/sign-in.js";
import { showCall, showPart, startSteps } from "./page/steps.js";
import { StoredFiles } from "./page/stored-files.js";
import { offerUnfinished, withdrawOffer } from "./page/unfinished.js";
import { Uploads } from "./page/uploads.js";

const client = new Partita({ token: currentToken, fetch: fetchThrough, send: sendThrough });
const stored = new StoredFiles((operationId, options) => client.service.call(operationId, { ...options, onCall: showCall }));
const uploads = new Uploads(
  { begin, download },
  {
    happened(event, card) {
      if (event.type === "call") showCall(event.call);
      else if (event.type === "part" && event.state === "stored") showPart(event.partNumber);
      else if (event.type === "plan") withdrawOffer(card.uploadId);
    },
    completed: () => stored.refresh(),
  },
);

translate(document.documentElement);
offerLanguages();
offerNetworks();
startSignIn();
startSteps();
startIntake((files) => uploads.add(files));
lookAround();

/** What there is from before. */
async function lookAround() {
  try {
    await offerUnfinished(client, uploads, notice);
    stored.refresh();
  } catch (error) {
    notice(explain(UploadError.from(error)));
  }
  startNetwork();
}

/** @param {import("./page/card.js").UploadCard} card */
function begin(card) {
  const { uploadId, source } = card;
  const file = source.handle ?? source.file;
  const how = { filename: source.name, partSize: source.partSize, findOpen: true };
  const upload = uploadId || !file ? client.resume(uploadId ?? "", file) : client.upload(file, how);
  upload.catch((error) => {
    if (error.code !== "file-needed") return;
    // The tab that sent it is gone, or the browser may not read the file: whoever is here can choose it.
    card.element.remove();
    offerUnfinished(client, uploads, notice).catch(() => {});
  });
  return upload;
}

/**
 * A link that carries a token is made first; without one the plain link does.
 *
 * @param {string} id
 * @param {MouseEvent} event
 */
function download(id, event) {
  if (!isSignedIn()) return;
  event.preventDefault();
  stored.download(id).catch((error) => notice(explain(UploadError.from(error))));
}

/** @param {string} text */
function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = text === "";
}

function offerLanguages() {
  const select = /** @type {HTMLSelectElement} */ (byId("language"));
  for (const [code, name] of Object.entries(LANGUAGES)) {
    const option = new Option(name, code, false, code === currentLanguage());
    option.lang = code;
    select.append(option);
  }
  select.addEventListener("change", () => setLanguage(select.value));
}

function offerNetworks() {
  for (const input of document.querySelectorAll('input[name="network"]')) {
    const choice = /** @type {HTMLInputElement} */ (input);
    choice.checked = choice.value === networkMode();
    choice.addEventListener("change", () => {
      setNetworkMode(/** @type {import("./page/network.js").Mode} */ (choice.value));
      document.body.dataset.network = choice.value;
    });
  }
  document.body.dataset.network = networkMode();
}

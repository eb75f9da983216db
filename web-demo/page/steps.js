// @ts-check
/** The panel behind the scenes: each step that the page takes, as a call of the library, with curl, by its operation. */
import { byId, find, fromTemplate } from "./dom.js";
import { onLanguage, t, translate } from "./i18n.js";

/** @typedef {import("../client/index.js").Call} Call */

const MOST = 40;

/** What one would write to have the client do this. @type {Record<string, string>} */
const LIBRARY = {
  createUpload: "const upload = client.upload(file)",
  listUploads: "await client.listResumable()",
  getUpload: "await client.getUpload(id)",
  abortUpload: "upload.abort()",
  signParts: "// by upload(), shortly before the parts are sent",
  recordParts: "// by upload(), in groups as parts land",
  syncParts: "const upload = client.resume(id, file)",
  completeUpload: "const { id } = await upload",
};

/** The row of parts that grows, until something else happens. @type {{ count: number, element: HTMLElement } | undefined} */
let parts;

/** Sets the panel to work. */
export function startSteps() {
  byId("curl").textContent = curlOfAll();
  onLanguage(() => {
    // They are what was said; what comes is said in the other language.
    parts = undefined;
    byId("steps").replaceChildren();
    byId("steps-none").hidden = false;
  });
}

/** @param {Call} call a call that the page has made */
export function showCall(call) {
  parts = undefined;
  const { operationId, status } = call;
  const answer = status === undefined ? t("steps.noAnswer") : t("steps.answer", { status: String(status) });
  const library = LIBRARY[operationId] ?? `await client.service.call("${operationId}", …)`;
  const element = show({ title: operationId, answer, library, curl: curlOf(call) });
  find(element, "operation").href = `/docs/#/${tagOf(operationId)}/${operationId}`;
}

/**
 * @param {number} partNumber a part that S3 has taken
 */
export function showPart(partNumber) {
  const count = (parts?.count ?? 0) + 1;
  if (parts) parts.count = count;
  else {
    const curl = `dd if=FILE bs=PART_SIZE skip=${partNumber - 1} count=1 | curl -T - "URL_OF_PART_${partNumber}"`;
    const library = "// by upload(), as many at once as pay";
    parts = { count, element: show({ title: "", answer: "S3", library, curl }) };
    find(parts.element, "operation").removeAttribute("href");
  }
  find(parts.element, "operation").textContent = t("steps.parts", { count });
}

/** @param {{ title: string, answer: string, library: string, curl: string }} step */
function show({ title, answer, library, curl }) {
  const element = fromTemplate("step-template");
  translate(element);
  find(element, "operation").textContent = title;
  find(element, "answer").textContent = answer;
  find(element, "library").textContent = library;
  find(element, "step-curl").textContent = curl;
  find(element, "copy").onclick = () => navigator.clipboard?.writeText(curl).catch(() => {});
  find(element, "copy").setAttribute("aria-label", t("named", { action: t("steps.copy"), name: title || "curl" }));
  const list = byId("steps");
  list.prepend(element);
  while (list.children.length > MOST) list.lastElementChild?.remove();
  byId("steps-none").hidden = true;
  return element;
}

/** @param {Call} call */
function curlOf({ method, url, body }) {
  const address = new URL(url, location.href).href;
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  words.push(quote(address));
  if (!document.getElementById("sign-out")?.hidden) words.push("-H", '"Authorization: Bearer $PARTITA_TOKEN"');
  if (body !== undefined) words.push("-H", "'Content-Type: application/json'", "-d", quote(JSON.stringify(body)));
  return words.join(" ");
}

/** @param {string} text */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {string} operationId the docs sort operations by what they are about */
function tagOf(operationId) {
  return /Part/.test(operationId) ? "Parts" : /Upload/.test(operationId) && !/Download/.test(operationId) ? "Uploads" : "Files";
}

function curlOfAll() {
  return `f=photo.jpg  # up to 5 GiB, as a single part
u=$(curl -s ${location.origin}/v1/uploads -H 'Content-Type: application/json' \\
  -d '{"filename": "'"$f"'", "size": '$(wc -c < "$f")', "autoComplete": true,
       "partSize": 5368709120}')
curl -T "$f" "$(echo "$u" | grep -o '"url":"[^"]*' | cut -c8-)"
curl ${location.origin}/v1/files/$(echo "$u" | grep -o '"id":"[^"]*' | head -1 | cut -c7-)`;
}

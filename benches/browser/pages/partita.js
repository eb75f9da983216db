// @ts-check
import { Partita } from "../../../web-demo/client/index.js";
import { chosen, options } from "./page.js";

/** @typedef {import("../../../web-demo/client/index.js").Upload} Upload */

const client = new Partita({ endpoint: options.endpoint });
/** @type {Upload} */
let upload;

/** @param {Upload} begun */
function follow(begun) {
  upload = begun;
  window.outcome = undefined;
  upload.then(
    () => (window.outcome = "completed"),
    (error) => (window.outcome = `${error.code}: ${error.message}`),
  );
}

window.begin = () => follow(client.upload(chosen(), { partSize: options.partSize }));
window.pause = () => upload.pause();
window.goOn = () => upload.resume();
// The file is still at hand, and the upload is found by it.
window.retry = window.begin;

/** A dropped file has a handle, which the browser keeps over a reload. */
window.beginWithHandle = async () => {
  const handle = await window.dropped;
  if (!handle) throw new Error("nothing was dropped");
  follow(client.upload(handle, { partSize: options.partSize }));
};
window.found = async () => (await client.listResumable())[0]?.file ?? "nothing";
window.goOnAfterReload = async () => {
  const [found] = await client.listResumable();
  follow(client.resume(found.id));
};
window.isReady = Promise.resolve();

// @ts-check
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import GoldenRetriever from "@uppy/golden-retriever";
import { chosen, options } from "./page.js";

const { partSize } = options;
const uppy = new Uppy();
uppy.use(AwsS3, {
  companionEndpoint: options.endpoint,
  shouldUseMultipart: true,
  ...(partSize === undefined ? {} : { getChunkSize: () => partSize }),
});
uppy.on("complete", ({ failed }) => {
  window.outcome = failed.length === 0 ? "completed" : String(failed[0].error);
});

window.begin = () => {
  const file = chosen();
  window.outcome = undefined;
  uppy.addFile({ name: file.name, type: file.type, data: file });
  uppy.upload();
};
window.pause = () => uppy.pauseAll();
window.goOn = () => uppy.resumeAll();
window.retry = () => {
  window.outcome = undefined;
  uppy.retryAll();
};

/** Golden Retriever with its service worker, as its documentation sets it up for files that are not small. */
async function retrieve() {
  const restored = new Promise((resolve) => uppy.on("restored", resolve));
  await navigator.serviceWorker.register("/sw.js");
  await navigator.serviceWorker.ready;
  while (!navigator.serviceWorker.controller) await new Promise((resolve) => setTimeout(resolve, 20));
  uppy.use(GoldenRetriever, { serviceWorker: true });
  window.found = async () => {
    await Promise.race([restored, new Promise((resolve) => setTimeout(resolve, 5000))]);
    const [file] = uppy.getFiles();
    return !file ? "nothing" : file.isGhost ? "choose" : "ask";
  };
}

// What the button of Uppy's Dashboard does.
window.goOnAfterReload = async () => {
  window.outcome = undefined;
  uppy.emit("restore-confirmed");
};
window.isReady = options.retriever ? retrieve() : Promise.resolve();

// @uppy/aws-s3 with Companion and Golden Retriever, as their documentation sets them up.
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import GoldenRetriever from "@uppy/golden-retriever";

const uppy = new Uppy({ autoProceed: false }).use(AwsS3, { companionEndpoint: `${location.origin}/companion` }).use(GoldenRetriever);
window.stage = { state: "idle" };

uppy.on("upload-success", (_, { body }) => (window.stage = { state: "done", key: body.key }));
uppy.on("upload-error", (_, error) => (window.stage = { state: "failed", why: error.message }));

const choose = (file) => uppy.addFile({ name: file.name, type: file.type, data: file, source: "Local" });
const sending = () => (window.stage = { state: "sending" });
window.begin = (file) => {
  choose(file);
  sending();
  uppy.upload().catch(() => {});
};
window.pause = () => uppy.pauseAll();
window.resume = () => uppy.resumeAll();
window.retry = () => {
  sending();
  uppy.retryAll().catch(() => {});
};
// After a reload: of a large file Golden Retriever has all but its bytes, so the visitor chooses it again, and confirms.
window.again = (file) => {
  const isKnown = uppy.getFiles().length > 0;
  choose(file);
  sending();
  if (isKnown) uppy.emit("restore-confirmed");
  else uppy.upload().catch(() => {});
};

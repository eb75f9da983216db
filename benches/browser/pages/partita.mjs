// Partita's client as its documentation sets it up; nothing but what the comparison needs to see and press.
import { Partita } from "/client/index.js";

const client = new Partita();
let upload;
window.stage = { state: "idle" };

window.begin = (file) => {
  upload = client.upload(file);
  window.stage = { state: "sending" };
  upload.then(
    ({ id }) => (window.stage = { state: "done", id }),
    (error) => (window.stage = { state: "failed", why: error.code }),
  );
};
window.pause = () => upload.pause();
window.resume = () => upload.resume();
// What a visitor does after a failure or a reload: the same file again.
window.retry = window.again = window.begin;

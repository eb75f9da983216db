// @ts-check
/** The `PUT` of one part from Node, whose `fetch` neither tells progress nor gives a stream its length. */
import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import { refusal, unreachable, watch } from "./send.js";

/** @type {import("./send.js").Send} */
export function put(target, body, { signal, stallMs, onProgress }) {
  return new Promise((resolve, reject) => {
    const { request } = target.url.startsWith("https:") ? https : http;
    const headers = { ...target.headers, "Content-Length": String(body.size) };
    const outgoing = request(target.url, { method: target.method, headers });
    const settle = watch({ signal, stallMs }, () => outgoing.destroy(), resolve, reject);
    outgoing.on("error", (cause) => settle.reject(unreachable(cause)));
    outgoing.on("response", async (answer) => {
      try {
        const text = Buffer.concat(await answer.toArray()).toString();
        const { statusCode = 0, headers } = answer;
        if (statusCode >= 200 && statusCode < 300) settle.resolve(headers.etag ?? null);
        else settle.reject(refusal(statusCode, text, headers["retry-after"]));
      } catch (cause) {
        settle.reject(unreachable(cause));
      }
    });
    let sent = 0;
    const bytes = Readable.fromWeb(/** @type {import("node:stream/web").ReadableStream} */ (body.stream()));
    bytes.on("error", (cause) => settle.reject(unreachable(cause)));
    bytes.on("data", (chunk) => {
      sent += chunk.length;
      settle.alive();
      onProgress(sent);
    });
    bytes.pipe(outgoing);
  });
}

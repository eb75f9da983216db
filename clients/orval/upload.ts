// Uploads a file with the functions of orval, which call fetch: tsx upload.ts FILE
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { completeUpload, createUpload, type Problem } from "./generated/partita";

// Its functions fetch relative URLs, which are right for a page of the service: here they are completed, and the token is added.
const { PARTITA_SERVER: server = "http://127.0.0.1:8080", PARTITA_TOKEN: token } = process.env;
const plainFetch = globalThis.fetch;
globalThis.fetch = (input, init) =>
  typeof input === "string" && input.startsWith("/")
    ? plainFetch(server + input, { ...init, headers: { ...init?.headers, ...(token && { Authorization: `Bearer ${token}` }) } })
    : plainFetch(input, init);

/** The problem that the service answers, told. */
function refused(problem: Problem): never {
  console.error(problem.code, problem.detail, problem.maxSize ?? "");
  process.exit(1);
}

const path = process.argv[2] ?? "";
const [file, filename] = [await openAsBlob(path), basename(path)];
// [upload]
const created = await createUpload({ filename, size: file.size, partUrls: { count: 1000 } });
if (created.status !== 201) refused(created.data);
const { upload, partUrls } = created.data;
for (const { url, headers, offset, size } of partUrls) {
  await fetch(url, { method: "PUT", headers, body: file.slice(offset, offset + size) });
}
for (let state; state !== "completed"; ) {
  const completed = await completeUpload(upload.id);
  if (completed.status !== 200 && completed.status !== 202) refused(completed.data);
  state = completed.data.state;
}
// [/upload]
console.log(upload.id);

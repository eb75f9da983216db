// Uploads a file with the client of @hey-api/openapi-ts: tsx upload.ts FILE
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { completeUpload, createUpload, type Problem } from "./generated";
import { client } from "./generated/client.gen";

client.setConfig({ baseUrl: process.env.PARTITA_SERVER ?? "http://127.0.0.1:8080", auth: process.env.PARTITA_TOKEN });

/** What the service answers, or its problem, told. */
function answer<Data>({ data, error }: { data?: Data; error?: Problem }): Data {
  if (data) return data;
  console.error(error?.code, error?.detail, error?.maxSize ?? "");
  process.exit(1);
}

const path = process.argv[2] ?? "";
const [file, filename] = [await openAsBlob(path), basename(path)];
// [upload]
const wanted = { filename, size: file.size, partUrls: { count: 1000 } };
const { upload: { id: uploadId }, partUrls } = answer(await createUpload({ body: wanted }));
for (const { url, headers, offset, size } of partUrls) {
  await fetch(url, { method: "PUT", headers, body: file.slice(offset, offset + size) });
}
while (answer(await completeUpload({ path: { uploadId } })).state !== "completed");
// [/upload]
console.log(uploadId);

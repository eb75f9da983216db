// Uploads a file with openapi-fetch, by the types of openapi-typescript: tsx upload.ts FILE
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/schema";

const { PARTITA_SERVER: baseUrl = "http://127.0.0.1:8080", PARTITA_TOKEN: token } = process.env;
const client = createClient<paths>({ baseUrl, headers: token ? { Authorization: `Bearer ${token}` } : {} });

/** What the service answers, or its problem, told. */
function answer<Data>({ data, error }: { data?: Data; error?: components["schemas"]["Problem"] }): Data {
  if (data) return data;
  console.error(error?.code, error?.detail, error?.maxSize ?? "");
  process.exit(1);
}

const path = process.argv[2] ?? "";
const [file, filename] = [await openAsBlob(path), basename(path)];
// [upload]
const wanted = { filename, size: file.size, partUrls: { count: 1000 } };
const { upload: { id: uploadId }, partUrls } = answer(await client.POST("/v1/uploads", { body: wanted }));
for (const { url, headers, offset, size } of partUrls) {
  await fetch(url, { method: "PUT", headers, body: file.slice(offset, offset + size) });
}
const complete = () => client.POST("/v1/uploads/{uploadId}/complete", { params: { path: { uploadId } } });
while (answer(await complete()).state !== "completed");
// [/upload]
console.log(uploadId);

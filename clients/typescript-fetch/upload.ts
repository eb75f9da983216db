// Uploads a file with openapi-generator's client for TypeScript and fetch: tsx upload.ts FILE
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { Configuration, ProblemFromJSON, ResponseError, UploadsApi } from "./generated";

const { PARTITA_SERVER: basePath = "http://127.0.0.1:8080", PARTITA_TOKEN: accessToken } = process.env;
const uploads = new UploadsApi(new Configuration({ basePath, accessToken }));

/** Sends the file, part by part; the upload's id. */
async function upload(file: Blob, filename: string): Promise<string> {
  // [upload]
  const wanted = { filename, size: file.size, partUrls: { count: 1000 } };
  const { upload: { id: uploadId }, partUrls } = await uploads.createUpload({ createUploadRequest: wanted });
  for (const { url, headers, offset, size } of partUrls) {
    await fetch(url, { method: "PUT", headers, body: file.slice(offset, offset + size) });
  }
  while ((await uploads.completeUpload({ uploadId })).state !== "completed");
  // [/upload]
  return uploadId;
}

try {
  const path = process.argv[2] ?? "";
  console.log(await upload(await openAsBlob(path), basename(path)));
} catch (fault) {
  if (!(fault instanceof ResponseError)) throw fault;
  const problem = ProblemFromJSON(await fault.response.json());
  console.error(problem.code, problem.detail, problem.maxSize ?? "");
  process.exit(1);
}

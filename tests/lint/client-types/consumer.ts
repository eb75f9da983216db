// What somebody writes in TypeScript who uses the client: the types that are published have to carry it.
import { listResumable, Partita, resume, upload, UploadError } from "partita-client";
import type { Resumable, UploadEvent, UploadResource } from "partita-client";
import { PartitaUpload } from "partita-client/element";

export async function send(file: File, bar: HTMLProgressElement): Promise<string> {
  const sending = upload(file, { endpoint: "https://uploads.example.com", token: async () => "…", signal: AbortSignal.timeout(1000) });
  for await (const event of sending) follow(event, bar);
  try {
    const done: UploadResource = await sending;
    return done.id;
  } catch (error) {
    if (error instanceof UploadError && error.retryable) sending.resume();
    throw error;
  }
}

function follow(event: UploadEvent, bar: HTMLProgressElement): void {
  switch (event.type) {
    case "progress":
      bar.value = event.sentBytes / event.size;
      break;
    case "retry":
      bar.title = `${event.error.code} ${event.delayMs.toFixed()} ${event.partNumber ?? ""}`;
      break;
    case "plan":
      bar.max = event.upload.partCount ?? event.missing.length;
      break;
  }
}

export async function goOn(): Promise<void> {
  const found: Resumable[] = await listResumable();
  const client = new Partita({ endpoint: "https://uploads.example.com" });
  for (const { id, file } of found) if (file === "ready") (client.resume(id), resume(id).pause());
  // @ts-expect-error there is no such state
  if (upload(new Blob(), { filename: "a" }).state === "nowhere") throw new Error();
  const field = document.querySelector("partita-upload");
  if (field instanceof PartitaUpload) field.token = "…";
}

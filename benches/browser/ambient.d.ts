// What the type-check cannot find in the code itself: the packages that are installed beside it only when it runs.

declare module "@uppy/core" {
  interface UppyFile {
    isGhost?: boolean;
    error?: unknown;
  }
  export default class Uppy {
    use(plugin: unknown, options: Record<string, unknown>): this;
    on(event: "complete", hear: (result: { failed: UppyFile[] }) => void): this;
    on(event: "restored", hear: (data: unknown) => void): this;
    emit(event: "restore-confirmed"): void;
    addFile(file: { name: string; type: string; data: Blob }): string;
    getFiles(): UppyFile[];
    upload(): Promise<unknown>;
    pauseAll(): void;
    resumeAll(): void;
    retryAll(): Promise<unknown>;
  }
}
declare module "@uppy/aws-s3";
declare module "@uppy/golden-retriever";
declare module "@uppy/golden-retriever/lib/ServiceWorker.js";
declare module "@uppy/companion";
declare module "express";
declare module "express-session";
declare module "esbuild" {
  function build(options: Record<string, unknown>): Promise<{ outputFiles: { path: string; contents: Uint8Array }[] }>;
}
declare module "@aws-sdk/client-s3" {
  type Named = { Bucket: string; Key: string };
  class ListObjectsV2Command {
    constructor(input: { Bucket: string; Prefix: string });
    readonly lists: true;
  }
  class GetObjectCommand {
    constructor(input: Named);
    readonly gets: true;
  }
  class DeleteObjectCommand {
    constructor(input: Named);
    readonly deletes: true;
  }
  class S3Client {
    constructor(options: Record<string, unknown>);
    send(command: ListObjectsV2Command): Promise<{ Contents?: { Key?: string }[] }>;
    send(command: GetObjectCommand): Promise<{ Body?: unknown }>;
    send(command: DeleteObjectCommand): Promise<unknown>;
  }
}

interface DataTransferItem {
  getAsFileSystemHandle(): Promise<FileSystemFileHandle | null>;
}

/** What each page offers to the one who drives it. */
interface Window {
  isReady: Promise<void>;
  /** How the upload ended: `completed`, or what went wrong. */
  outcome?: string;
  begin: () => void;
  pause: () => void;
  goOn: () => void;
  /** What a button to try again does. */
  retry: () => void;
  dropped?: Promise<FileSystemFileHandle | null>;
  beginWithHandle: () => Promise<void>;
  /** After a reload: how the file of an upload that can be gone on with is reached. */
  found: () => Promise<"ready" | "ask" | "choose" | "nothing">;
  goOnAfterReload: () => Promise<void>;
}

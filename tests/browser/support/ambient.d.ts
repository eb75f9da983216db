// What the type-check cannot find in the code itself.

/** The part of `pg` that the tests use; the package carries no types. */
declare module "pg" {
  class Client {
    constructor(config: { connectionString: string });
    connect(): Promise<void>;
    query(sql: string): Promise<unknown>;
    end(): Promise<void>;
  }
  const pg: { Client: typeof Client };
  export default pg;
}

interface Window {
  /** What the page's live regions said, as the tests collect it. */
  announcements: string[];
  /** The client's module, as support/library.js loads it. */
  client: typeof import("../../../web-demo/client/index.js");
  chosen: () => File;
  seen: import("../../../web-demo/client/index.js").UploadEvent[];
  follow: (upload: import("../../../web-demo/client/index.js").Upload) => Promise<void>;
  upload: import("../../../web-demo/client/index.js").Upload;
  /** How far the page's clock is off. */
  clockOffset: number;
}

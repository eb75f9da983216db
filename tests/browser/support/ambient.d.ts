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
  /** What the page's live region said, as page.test.js collects it. */
  announcements: string[];
}

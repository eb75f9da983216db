// @ts-check
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { build } from "esbuild";

const CLIENT = path.resolve(import.meta.dirname, "../../web-demo/client");

/** Bundles the two clients' pages and serves them from an origin of their own. */
export async function startSite() {
  const pages = path.join(import.meta.dirname, "pages");
  const { outputFiles } = await build({
    entryPoints: {
      partita: path.join(pages, "partita.js"),
      uppy: path.join(pages, "uppy.js"),
      sw: path.join(pages, "sw.js"),
      // The client looks for it beside itself.
      "checksum-worker": path.join(CLIENT, "checksum-worker.js"),
    },
    bundle: true,
    // The client has a file for Node, which browsers never load: it stays a file of its own.
    external: ["node:*"],
    splitting: true,
    minify: true,
    format: "esm",
    outdir: "/",
    write: false,
    logLevel: "error",
  });
  const scripts = new Map(outputFiles.map(({ path, contents }) => [path, Buffer.from(contents)]));
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const script = scripts.get(pathname);
    if (script) return response.writeHead(200, { "Content-Type": "text/javascript" }).end(script);
    const client = pathname.slice(1, -".html".length);
    if (!scripts.has(`/${client}.js`)) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    const body = `<input type="file" id="file"><script type="module" src="/${client}.js"></script>`;
    response.end(`<!doctype html><title>${client}</title>${body}`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { origin: `http://127.0.0.1:${port}`, close: () => server.close() };
}

// The one network between the browser and S3: it takes time, it takes turns, and it does what it is told to a request.
import http from "node:http";

const TICK_MS = 10;
const PIECE = 16 * 1024;

/** Lets so many bytes a second pass, over all who ask. */
class Line {
  #rate;
  #free = 0;
  constructor(bytesPerSecond) {
    this.#rate = bytesPerSecond;
  }
  /** Waits until so many more bytes are through. */
  async take(bytes) {
    const now = performance.now();
    this.#free = Math.max(this.#free, now) + (bytes / this.#rate) * 1000;
    const wait = this.#free - now;
    if (wait > TICK_MS) await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/**
 * A proxy in front of S3.
 *
 * `line`: bytes per second in all; `lane`: of one connection; `latencyMs`: before each answer to a browser.
 */
export async function network({ upstream, line, lane, latencyMs }) {
  const all = new Line(line);
  const state = {
    /** What befalls the part uploads from now on, each once, in order: `{ after: parts, do: "cut" | "forbid" | "flip" }`. */
    faults: [],
    isDown: false,
    puts: 0,
    /** Bytes of parts that browsers sent. */
    sent: 0,
  };
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const server = http.createServer(async (request, response) => {
    const { socket } = request; // it is gone from there once the request has ended
    if (state.isDown) return socket.destroy();
    const isPart = request.method === "PUT" && /[?&]partNumber=/.test(request.url);
    const cors = { "access-control-allow-origin": "*", "access-control-expose-headers": "ETag" };
    if (request.method === "OPTIONS") {
      await pause(latencyMs);
      response.writeHead(204, { ...cors, "access-control-allow-methods": "PUT", "access-control-allow-headers": "*", "access-control-max-age": "3000" });
      return response.end();
    }
    const fault = isPart && state.faults[0]?.after <= state.puts ? state.faults.shift().do : undefined;
    if (isPart) {
      state.puts++;
      await pause(latencyMs);
    }
    if (fault === "forbid") {
      for await (const chunk of request) if (isPart) state.sent += chunk.length; // who is still sending reads no answer
      response.writeHead(403, { ...cors, "content-type": "application/xml" });
      return response.end("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
    }
    const { hostname, port } = new URL(upstream);
    const onwards = http.request({ agent, hostname, port, method: request.method, path: request.url, headers: request.headers });
    onwards.on("error", () => socket.destroy());
    onwards.on("response", (answer) => {
      response.writeHead(answer.statusCode, { ...answer.headers, ...cors });
      answer.pipe(response);
    });
    const own = new Line(lane);
    const length = Number(request.headers["content-length"] ?? 0);
    let gone = 0;
    try {
      for await (let chunk of request) {
        for (let at = 0; at < chunk.length; at += PIECE) {
          const piece = chunk.subarray(at, at + PIECE);
          if (isPart) await Promise.all([own.take(piece.length), all.take(piece.length)]);
          if (state.isDown || (fault === "cut" && gone > length / 2)) {
            onwards.destroy();
            return socket.destroy();
          }
          if (fault === "flip" && gone === 0) piece[0] ^= 1;
          gone += piece.length;
          if (isPart) state.sent += piece.length;
          if (!onwards.write(piece)) await drained(onwards);
        }
      }
      onwards.end();
    } catch {
      onwards.destroy();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(state, {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Nobody gets through, and whoever is on the way is thrown out. */
    down() {
      state.isDown = true;
      server.closeAllConnections();
    },
    up: () => (state.isDown = false),
    async close() {
      server.closeAllConnections();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Resolves when there is room again, or nobody who would make it. */
function drained(stream) {
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

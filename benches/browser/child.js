// @ts-check
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

/** A server that can be killed, and started again in the same place. */
export class Child {
  #command;
  #ready;
  #log = "";
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;

  /**
   * @param {[program: string, ...string[]]} command
   * @param {string} ready a URL that answers, with whatever, once it serves
   */
  constructor(command, ready) {
    this.#command = command;
    this.#ready = ready;
  }

  /** Starts it, and waits until it serves. @param {Record<string, string>} environment */
  async start(environment) {
    const [program, ...words] = this.#command;
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
    const child = spawn(program, words, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (this.#log += text));
    for (let tries = 0; tries < 300; tries++) {
      if (child.exitCode !== null) throw new Error(`${this.#command.join(" ")} ended by itself:\n${this.#log}`);
      if (await fetch(this.#ready, { signal: AbortSignal.timeout(1000) }).catch(() => undefined)) return;
      await sleep(50);
    }
    throw new Error(`${this.#command.join(" ")} does not serve:\n${this.#log}`);
  }

  /** SIGKILL: no farewell, no flush. */
  async kill() {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }
}

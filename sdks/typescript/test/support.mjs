import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The server that the tests of the whole run against; without it they say that they do not run. */
export const binary = process.env.VYDRA_BINARY;
export const skip = binary ? false : "VYDRA_BINARY names no server: not tested against a real one";

/** A folder that is removed after the test. */
export async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), "vydra-ts-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Starts `vydra dev` in a folder of its own, and ends it after the test. */
export async function realServer(t) {
  const data = await mkdtemp(join(tmpdir(), "vydra-ts-"));
  const server = spawn(binary, ["dev", "--data-dir", data, "--listen", "127.0.0.1:0", "--quiet-start"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(async () => {
    if (server.exitCode === null) {
      server.kill("SIGTERM");
      await once(server, "exit");
    }
    await rm(data, { recursive: true, force: true });
  });
  let output = "";
  for await (const chunk of server.stdout) {
    output += chunk;
    if (output.includes("Serving on")) break;
  }
  const baseUrl = /Serving on (http:\/\/\S+)/.exec(output)[1];
  const env = await readFile(join(data, "dev-keys.env"), "utf8");
  const key = (name) => new RegExp(`^${name}=(.*)$`, "m").exec(env)[1].trim();
  return { baseUrl, liveKey: key("VYDRA_API_KEY"), testKey: key("VYDRA_TEST_KEY") };
}

/** Serves with a handler, and stops after the test. */
export async function serve(t, handler) {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** A clock on which nothing is waited for. */
export class FakeClock {
  waits = [];
  constructor(now = Date.parse("2026-01-01T00:00:00Z"), share = 1) {
    this.time = now;
    this.share = share;
  }
  now() {
    return this.time;
  }
  random() {
    return this.share;
  }
  async sleep(ms, signal) {
    signal?.throwIfAborted();
    this.waits.push(ms / 1000);
    this.time += ms;
  }
}

export async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test as nodeTest } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const run = promisify(execFile);
export const root = fileURLToPath(new URL("..", import.meta.url));

/** A test with an end: one that waits for what never comes fails after a minute, and says so. */
export function test(name, ...more) {
  const body = more.pop();
  return nodeTest(name, { timeout: 60_000, ...more[0] }, body);
}

/** Why a test is left out. In CI nothing is: what it needs must be there. */
export function unless(present, reason) {
  if (present) return false;
  if (process.env.CI) throw new Error(reason);
  return reason;
}

/** The server that the tests of the whole run against; without it they say that they do not run. */
export const binary = process.env.VYDRA_BINARY;
export const skip = unless(binary, "VYDRA_BINARY names no server: not tested against a real one");

/** A folder that is removed after the test. */
export async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), "vydra-ts-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Ends a program, unless it has ended. */
export async function ended(program) {
  if (program.exitCode !== null || program.signalCode !== null) return;
  program.kill();
  await once(program, "exit");
}

/** Starts `vydra dev` in a folder of its own, with this configuration, and ends it after the test. */
export async function realServer(t, config = "") {
  const data = await mkdtemp(join(tmpdir(), "vydra-ts-"));
  await writeFile(join(data, "config.toml"), config);
  const server = spawn(binary, ["dev", "--data-dir", data, "--config", join(data, "config.toml"), "--listen", "127.0.0.1:0", "--quiet-start"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(async () => {
    await ended(server);
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

/** An empty project with the package in it, as somebody gets it. */
export async function project(t) {
  const at = await folder(t);
  await writeFile(join(at, "package.json"), '{"private": true}');
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", at], { cwd: root });
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(at, JSON.parse(stdout)[0].filename)], { cwd: at });
  return at;
}

/** A runtime of the folder runtimes: the one of its programs that this machine can run. */
export async function runtime(scope, program) {
  const packages = join(root, "runtimes/node_modules", scope);
  for (const name of await readdir(packages).catch(() => [])) {
    const path = join(packages, name, program);
    if (await run(path, ["--version"]).catch(() => undefined)) return path;
  }
  return undefined;
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

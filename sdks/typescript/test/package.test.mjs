// What is published, as somebody gets it: packed, installed into an empty project, and run.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createHmac } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { folder, realServer, skip } from "./support.mjs";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

/** An empty project with the package in it. */
async function project(t) {
  const at = await folder(t);
  await writeFile(join(at, "package.json"), '{"private": true}');
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", at], { cwd: root });
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(at, JSON.parse(stdout)[0].filename)], { cwd: at });
  await cp(join(root, "examples"), at, { recursive: true });
  return at;
}

test("the package holds what is needed and nothing else", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root });
  const [{ files, version }] = JSON.parse(stdout);
  const names = files.map(({ path }) => path).sort();
  assert.deepEqual(names.filter((name) => !name.startsWith("dist/")), ["LICENSE", "README.md", "package.json"]);
  for (const name of names.filter((one) => one.startsWith("dist/"))) assert.match(name, /^dist\/(index\.(js|cjs)|web\.js|[a-z]+\.d\.(ts|cts))$/);
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  assert.equal(manifest.dependencies, undefined);
  const server = await readFile(join(root, "../../Cargo.toml"), "utf8");
  assert.equal(version, /^version = "(.*)"$/m.exec(server)[1], "the version is the server's");
});

test("the README's quick start, as ESM and CJS, with types", { skip }, async (t) => {
  const { baseUrl, liveKey } = await realServer(t);
  const at = await project(t);
  const readme = await readFile(join(root, "README.md"), "utf8");
  const start = /```ts\n([\s\S]*?)```/.exec(readme)[1];
  const env = { ...process.env, VYDRA_BASE_URL: baseUrl, VYDRA_API_KEY: liveKey };
  const programs = {
    "start.mjs": start,
    "start.cjs": `const { Vydra } = require("vydra");\n(async () => {${start.replace(/^import .*$/m, "")}})();`,
  };
  for (const [name, text] of Object.entries(programs)) {
    const where = join(at, name.replace(".", "-"));
    await mkdir(where);
    await writeFile(join(at, name), text);
    await run(process.execPath, [join(at, name)], { cwd: where, env });
    const [file] = await readdir(where);
    assert.deepEqual([...(await readFile(join(where, file))).subarray(1, 4)], [...Buffer.from("PNG")]);
  }
  for (const name of ["use.mts", "use.cts"]) {
    const text = `import { Vydra, InsufficientCreditsError, type CompletedJob } from "vydra";
export async function f(): Promise<string> {
  const vydra = new Vydra({ baseUrl: "http://x", apiKey: "k" });
  const job: CompletedJob = await vydra.generate.image({ prompt: "a", aspect_ratio: "16:9" });
  // @ts-expect-error: a prompt is needed
  await vydra.jobs.create("generate_image", {});
  await vydra.jobs.create("a-workflow-of-ours", { anything: 1 });
  for await (const { progress } of vydra.stream(job)) progress.toFixed();
  for await (const one of vydra.jobs.list()) one.urls.at(0);
  try { return job.url; } catch (error) { return error instanceof InsufficientCreditsError ? String(error.creditsRequired) : ""; }
}
`;
    await writeFile(join(at, name), text);
  }
  const tsc = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "use.mts", "use.cts"];
  await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...tsc], { cwd: at }).catch((error) => assert.fail(error.stdout));
});

test("the examples run", { skip }, async (t) => {
  const { baseUrl, liveKey, testKey } = await realServer(t);
  const at = await project(t);
  const env = { ...process.env, VYDRA_BASE_URL: baseUrl, VYDRA_API_KEY: liveKey };
  const node = (...args) => run(process.execPath, args, { cwd: at, env });

  await t.test("errors.mjs", async () => {
    assert.match((await node("errors.mjs", "a boat", "boat.png")).stdout, /^boat\.png: 5 credits/);
    const failed = await run(process.execPath, ["errors.mjs"], { cwd: at, env: { ...env, VYDRA_API_KEY: "nonsense" } }).catch((error) => error);
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /^The API key is not complete\. Please copy it again\.\n\{"code":"INVALID_FORMAT"/);
  });

  await t.test("batch.mjs", async () => {
    await writeFile(join(at, "prompts.txt"), Array.from({ length: 100 }, (_, index) => `prompt ${index}`).join("\n"));
    const credits = async () => (await (await fetch(`${baseUrl}/api/v1/billing/credits`, { headers: { authorization: `Bearer ${testKey}` } })).json()).creditsRemaining;
    const before = await credits();
    const batch = () => run(process.execPath, ["batch.mjs", "prompts.txt", "pictures", "152"], { cwd: at, env: { ...env, VYDRA_API_KEY: testKey } });
    assert.equal((await batch()).stdout, "30 of 100 made, 2 of 152 credits left\n");
    assert.equal((await readdir(join(at, "pictures"))).length, 30);
    assert.equal(before - (await credits()), 150);
    await batch();
    assert.equal(before - (await credits()), 150, "the second run bought again");
  });

  await t.test("webhook-receiver.mjs", async () => {
    const secret = `whsec_${Buffer.from("a secret of thirty-two bytes 001").toString("base64")}`;
    const receiver = spawn(process.execPath, ["webhook-receiver.mjs"], { cwd: at, env: { ...env, PORT: "0", VYDRA_WEBHOOK_SECRET: secret } });
    const lines = receiver.stdout.setEncoding("utf8")[Symbol.asyncIterator]();
    const url = /http:\S+/.exec((await lines.next()).value)[0];
    const body = JSON.stringify({ type: "job.completed", timestamp: "2026-03-01T12:00:00.000Z", data: { id: "job_1", resultUrls: ["https://x/a.png"] } });
    const post = (id, text) => {
      const timestamp = String(Math.floor(Date.now() / 1000));
      const signature = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`${id}.${timestamp}.${body}`).digest("base64");
      return fetch(url, { method: "POST", body: text, headers: { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` } });
    };
    assert.equal((await post("evt_0", `${body} `)).status, 400);
    assert.equal((await post("evt_1", body)).status, 204);
    assert.equal((await lines.next()).value, "job_1: https://x/a.png\n");
    assert.equal((await post("evt_1", body)).status, 204);
    assert.equal((await post("evt_2", body)).status, 204);
    assert.equal((await lines.next()).value, "job_1: https://x/a.png\n", "evt_2, and evt_1 not again");
    receiver.kill();
    await once(receiver, "exit");
  });

  await t.test("next-handler.mjs", async () => {
    const program = `const { POST } = await import("./next-handler.mjs");
      for (const prompt of ["a boat", ""]) {
        const answer = await POST(new Request("http://x/api/images", { method: "POST", body: JSON.stringify({ prompt }) }));
        console.log(answer.status, JSON.stringify(await answer.json()));
      }`;
    const { stdout } = await node("--input-type=module", "-e", program);
    assert.match(stdout, /^200 \{"url":"http\S+\.png"\}\n400 \{"error":"Something in this request is not right\. Please check what you entered\."\}\n$/);
  });
});

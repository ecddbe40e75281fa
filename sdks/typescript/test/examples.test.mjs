// The examples, from the installed package and against a real server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { cp, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Vydra } from "../dist/index.js";
import { bodyOf, ended, project, realServer, root, run, serve, skip, test } from "./support.mjs";

/** A real server, and a project with the examples. */
async function prepared(t, config) {
  const server = await realServer(t, config);
  const at = await project(t);
  await cp(join(root, "examples"), at, { recursive: true });
  const env = { ...process.env, VYDRA_BASE_URL: server.baseUrl, VYDRA_API_KEY: server.testKey };
  const node = (words, more = {}) => run(process.execPath, words, { cwd: at, env: { ...env, ...more } });
  return { ...server, at, env, node };
}

test("errors.mjs", { skip }, async (t) => {
  const { at, liveKey, node } = await prepared(t);
  assert.equal((await node(["errors.mjs", "a boat", "boat.png"], { VYDRA_API_KEY: liveKey })).stdout, "boat.png: 5 credits\n");
  assert.ok((await readdir(at)).includes("boat.png"));

  const failed = async (more) => {
    const { code, stderr } = await node(["errors.mjs"], more).catch((error) => error);
    assert.equal(code, 1);
    const [friendly, log] = stderr.split("\n");
    const { requestId, ...told } = JSON.parse(log);
    return { friendly, requestId, ...told };
  };
  const { requestId, ...refused } = await failed({ VYDRA_API_KEY: "nonsense" });
  assert.match(requestId, /^req_/);
  assert.deepEqual(refused, { friendly: "The API key is not complete. Please copy it again.", error: "Authentication failed: API key format is invalid", code: "INVALID_FORMAT", status: 401 });
  assert.equal((await failed({ SIMULATE: "INSUFFICIENT_CREDITS" })).error, "Insufficient credits. Need 5, have 0");
  const lost = await failed({ SIMULATE: "GENERATION_FAILED" });
  assert.equal(lost.friendly, "It didn't work this time, and you got your credits back. Please try again.");
  assert.equal(lost.error, "Failed to generate image. 5 credits came back");

  // Longer than the client waits for.
  const busy = await serve(t, (_, response) => response.writeHead(429, { "content-type": "application/json" }).end('{"error":"Rate limit exceeded","code":"RATE_LIMIT_EXCEEDED","retryAfter":61}'));
  const late = await failed({ VYDRA_BASE_URL: busy });
  assert.equal(late.error, "Rate limited. Retry after 61 s");
  assert.equal(late.friendly, "That was a bit fast. Please try again in 61 s.");
});

test("batch.mjs: a hundred prompts, a cap, and a second run that buys nothing", { skip }, async (t) => {
  const { at, baseUrl, testKey, node } = await prepared(t);
  await writeFile(join(at, "prompts.txt"), Array.from({ length: 100 }, (_, index) => `prompt ${index}`).join("\n"));
  const client = new Vydra({ baseUrl, apiKey: testKey });
  const left = async () => (await client.credits()).creditsRemaining;
  const batch = (folder, cap) => node(["batch.mjs", "prompts.txt", folder, cap]);
  const before = await left();
  assert.equal((await batch("some", "152")).stdout, "30 of 100 made, 2 of 152 credits left\n");
  assert.equal((await readdir(join(at, "some"))).length, 30);
  assert.equal(before - (await left()), 150);
  assert.equal((await batch("all", "500")).stdout, "100 of 100 made, 0 of 500 credits left\n");
  assert.equal((await readdir(join(at, "all"))).length, 100);
  assert.equal(before - (await left()), 500, "what the first run had bought was bought again");
});

test("batch.mjs: what may have been bought counts, and what is hopeless ends it", async (t) => {
  const at = await project(t);
  await cp(join(root, "examples"), at, { recursive: true });
  const posts = [];
  const told = { refused: [400, "INVALID_INPUT"], lost: [500, "INTERNAL_ERROR"], revoked: [401, "KEY_REVOKED"] };
  const base = await serve(t, async (request, response) => {
    const json = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (request.url.endsWith("/quotes")) return json(200, { credits: 5 });
    if (request.method === "GET") return json(200, { id: "job_1", status: "failed", error: "No.", code: "GENERATION_FAILED", refund: { applied: true, creditsRefunded: 5 } });
    const { prompt } = JSON.parse(await bodyOf(request)).input;
    posts.push(prompt);
    const [status, code] = told[prompt] ?? [201];
    json(status, code ? { error: "No.", code, details: { retryable: false } } : { id: "job_1", status: "pending" });
  });
  const batch = async (prompts) => {
    await writeFile(join(at, "prompts.txt"), prompts.join("\n"));
    return run(process.execPath, ["batch.mjs", "prompts.txt", "pictures", "100"], { cwd: at, env: { ...process.env, VYDRA_BASE_URL: base, VYDRA_API_KEY: "KEY" } });
  };
  assert.equal((await batch(["refused", "lost", "failed"])).stdout, "0 of 3 made, 95 of 100 credits left\n");
  posts.length = 0;
  const { code } = await batch(Array.from({ length: 50 }, () => "revoked")).catch((error) => error);
  assert.equal(code, 1);
  assert.ok(posts.length >= 1 && posts.length <= 4, `${posts.length} were sent with a key that is no good`);
});

test("webhook-receiver.mjs", { skip }, async (t) => {
  const { at, baseUrl, env, testKey } = await prepared(t, '[outbound]\nwebhook_allow_networks = ["127.0.0.0/8"]\n');
  const client = new Vydra({ baseUrl, apiKey: testKey });
  const { secret } = await client.webhooks.secret.get();
  const receiver = spawn(process.execPath, ["webhook-receiver.mjs"], { cwd: at, env: { ...env, PORT: "0", VYDRA_WEBHOOK_SECRET: secret }, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => ended(receiver));
  const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value;
  const url = /http:\S+/.exec(await line())[0];
  // Of the server itself …
  const done = await client.generate.image({ prompt: "a boat" }, { webhookUrl: url });
  assert.equal(await line(), `${done.id}: ${done.url}`);
  const failed = await client.generate.image({ prompt: "a boat" }, { webhookUrl: url, simulate: "GENERATION_FAILED" }).catch((error) => error);
  assert.equal(await line(), `${failed.job.id}: Failed to generate image`);
  // … and what may come besides.
  const post = async (id, more = "") => {
    const body = JSON.stringify({ type: "job.completed", timestamp: "2026-03-01T12:00:00.000Z", data: { id, resultUrls: ["https://x/a.png"] } });
    const timestamp = String(Math.floor(Date.now() / 1000));
    const signature = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`${id}.${timestamp}.${body}`).digest("base64");
    return (await fetch(url, { method: "POST", body: body + more, headers: { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` } })).status;
  };
  assert.equal(await post("evt_0", " "), 400);
  for (const id of ["evt_1", "evt_1", "evt_2"]) assert.equal(await post(id), 204);
  assert.equal(await line(), "evt_1: https://x/a.png");
  assert.equal(await line(), "evt_2: https://x/a.png", "evt_1 was taken twice");
});

test("next-handler.mjs", { skip }, async (t) => {
  const { baseUrl, node, testKey } = await prepared(t);
  const program = `const { POST } = await import("./next-handler.mjs");
    for (const prompt of ["a boat", ""]) {
      const answer = await POST(new Request("http://x/api/images", { method: "POST", body: JSON.stringify({ prompt }) }));
      console.log(answer.status, JSON.stringify(await answer.json()));
    }`;
  const { stdout } = await node(["--input-type=module", "-e", program]);
  assert.match(stdout, /^200 \{"url":"http\S+\.png"\}\n400 \{"error":"Something in this request is not right\. Please check what you entered\."\}\n$/);
  const { data } = await new Vydra({ baseUrl, apiKey: testKey }).jobs.list();
  assert.deepEqual(data.map(({ status }) => status), ["completed"]);
});

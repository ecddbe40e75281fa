import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import * as sdk from "../dist/index.js";
import { bodyOf, FakeClock, serve, test } from "./support.mjs";

const KEY = "vydra_live_user_secret0secret0secret0";
const json = (response, status, value, headers = {}) => response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
const job = { id: "job_1", jobId: "job_1", status: "running", progress: 0 };
const client = (baseUrl, options = {}) => new sdk.Vydra({ baseUrl, apiKey: KEY, clock: new FakeClock(), ...options });

test("the key stands in nothing that is shown", async (t) => {
  const base = await serve(t, (request, response) => (request.url.endsWith("/credits") ? json(response, 401, { error: "API key was revoked", code: "KEY_REVOKED" }) : response.destroy()));
  const seen = [];
  const note = (info) => seen.push(info);
  const vydra = client(base, { maxRetries: 1, hooks: { onRequest: note, onResponse: note, onRetry: note } });
  const failures = [await vydra.credits().catch((error) => error), await vydra.organization().catch((error) => error)];
  assert.ok(failures[0] instanceof sdk.KeyRevokedError && failures[1] instanceof sdk.ConnectionError);
  for (const thing of [vydra, ...failures, ...seen, ...failures.map((error) => error.stack)]) {
    const shown = inspect(thing, { depth: Infinity, showHidden: true, getters: true }) + JSON.stringify(thing) + String(thing);
    assert.ok(!shown.includes("secret0"), shown);
  }
  for (const options of [{ apiKey: `${KEY}\nx` }, { apiKey: "" }, { apiKey: KEY, baseUrl: `http://x:${KEY}@y` }, { apiKey: KEY, baseUrl: KEY }]) {
    assert.throws(() => new sdk.Vydra({ baseUrl: base, ...options }), (error) => error instanceof sdk.ConfigurationError && !inspect(error).includes("secret0"));
  }
});

test("a relative home of configurations is ignored", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "vydra-"));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, "vydra"));
  await writeFile(join(folder, "vydra", "credentials.json"), JSON.stringify({ baseUrl: "https://file.example", apiKey: KEY }));
  const { XDG_CONFIG_HOME, HOME, VYDRA_BASE_URL, VYDRA_API_KEY } = process.env;
  t.after(() => {
    for (const [name, value] of Object.entries({ XDG_CONFIG_HOME, HOME, VYDRA_BASE_URL, VYDRA_API_KEY })) value === undefined ? delete process.env[name] : (process.env[name] = value);
  });
  Object.assign(process.env, { HOME: join(folder, "home"), VYDRA_BASE_URL: "", VYDRA_API_KEY: "", XDG_CONFIG_HOME: folder });
  new sdk.Vydra();
  process.env.XDG_CONFIG_HOME = relative(process.cwd(), folder);
  assert.throws(() => new sdk.Vydra(), sdk.ConfigurationError);
});

test("hooks are told of each request, and break nothing", async (t) => {
  let count = 0;
  const base = await serve(t, (_, response) => (count++ === 0 ? json(response, 503, { error: "Busy", code: "UNAVAILABLE" }, { "x-request-id": "req_1" }) : json(response, 200, { creditsRemaining: 1 }, { "x-request-id": "req_2" })));
  const told = [];
  const tell = (name) => (info) => {
    told.push([name, info]);
    throw new Error("a hook that fails");
  };
  const vydra = client(base, { hooks: { onRequest: tell("request"), onResponse: tell("response"), onRetry: tell("retry") } });
  assert.equal((await vydra.credits()).creditsRemaining, 1);
  const url = `${base}/api/v1/billing/credits`;
  const error = told[2][1].error;
  assert.ok(error instanceof sdk.UnavailableError);
  assert.deepEqual(told, [
    ["request", { method: "GET", url, attempt: 0 }],
    ["response", { method: "GET", url, attempt: 0, status: 503, requestId: "req_1", durationMs: 0 }],
    ["retry", { method: "GET", url, attempt: 0, waitMs: 500, error }],
    ["request", { method: "GET", url, attempt: 1 }],
    ["response", { method: "GET", url, attempt: 1, status: 200, requestId: "req_2", durationMs: 0 }],
  ]);
});

test("a signal ends a request, a pause and a wait with its reason", async (t) => {
  const arrived = [];
  const base = await serve(t, (request, response) => {
    arrived.push(request.url);
    if (request.url.includes("organization")) json(response, 503, {});
    else stop.abort(new Error("enough"));
  });
  let stop = new AbortController();
  await assert.rejects(client(base).credits({ signal: stop.signal }), /^Error: enough$/);
  assert.equal(arrived.length, 1, "an aborted request was repeated");

  stop = new AbortController();
  await assert.rejects(client(base).wait("job_1", { signal: stop.signal }), /^Error: enough$/);

  stop = new AbortController();
  const sleepy = client(base, { clock: undefined, maxRetries: 1, hooks: { onRetry: () => stop.abort(new Error("no more")) } });
  await assert.rejects(sleepy.organization({ signal: stop.signal }), /^Error: no more$/);
  await assert.rejects(sleepy.credits({ signal: AbortSignal.abort(new Error("never")) }), /^Error: never$/);
  assert.equal(arrived.length, 3);
});

test("cancelOnAbort cancels the job once, and only when it is asked for", async (t) => {
  let stop;
  const cancelled = [];
  let told;
  const base = await serve(t, async (request, response) => {
    await bodyOf(request);
    if (request.method === "POST") return json(response, 201, job);
    if (request.method === "GET") return stop.abort(new Error("enough"));
    cancelled.push(request.url);
    json(response, 200, { ...job, status: "cancelled" });
    told();
  });
  const vydra = client(base);
  stop = new AbortController();
  await assert.rejects(vydra.wait("job_1", { signal: stop.signal }), /enough/);
  assert.deepEqual(cancelled, []);
  for (const call of [() => vydra.wait("job_1", { signal: stop.signal, cancelOnAbort: true }), () => vydra.generate.image({ prompt: "a boat" }, { signal: stop.signal, cancelOnAbort: true })]) {
    stop = new AbortController();
    const cancel = new Promise((resolve) => (told = resolve));
    await assert.rejects(call(), /enough/);
    await cancel;
  }
  assert.deepEqual(cancelled, ["/api/v1/jobs/job_1", "/api/v1/jobs/job_1"]);
});

test("a purchase that is broken off before its answer is cancelled by it", async (t) => {
  const stop = new AbortController();
  let answer;
  let told;
  const cancel = new Promise((resolve) => (told = resolve));
  const base = await serve(t, async (request, response) => {
    await bodyOf(request);
    if (request.method === "DELETE") {
      told(request.url);
      return json(response, 200, { ...job, status: "cancelled" });
    }
    answer = () => json(response, 201, job);
    stop.abort(new Error("enough"));
  });
  await assert.rejects(client(base).generate.image({ prompt: "a boat" }, { signal: stop.signal, cancelOnAbort: true }), /enough/);
  answer();
  assert.equal(await cancel, "/api/v1/jobs/job_1");
});

test("a request has a time, and a stream a bound on silence", async (t) => {
  const base = await serve(t, (request, response) => {
    if (request.url.includes("credits")) return;
    response.writeHead(200, { "content-type": "image/png", "content-length": 100 });
    response.write("half");
  });
  const hasty = client(base, { timeout: 20, silence: 20, maxRetries: 1 });
  const late = await hasty.credits().catch((error) => error);
  assert.ok(late instanceof sdk.TimeoutError && late instanceof sdk.ConnectionError, inspect(late));
  await assert.rejects(hasty.bytes(`${base}/a.png`), sdk.TimeoutError);
});

test("an answer that the server was asked to hold may take that much longer", async (t) => {
  const base = await serve(t, (_, response) => setTimeout(() => json(response, 200, { ...job, status: "completed" }), 100));
  assert.equal((await client(base, { timeout: 20, maxRetries: 0 }).wait("job_1")).status, "completed");
});

test("a list asks for nothing before it is read, and for its first page once", async (t) => {
  const asked = [];
  const base = await serve(t, (request, response) => {
    asked.push(request.url);
    json(response, 200, { data: [{ id: `job_${asked.length}` }], pagination: { limit: 1, offset: 0, count: 2, nextCursor: asked.length === 1 ? "job_1" : null } });
  });
  const list = client(base).jobs.list({ limit: 1 });
  assert.deepEqual(asked, []);
  const page = await list;
  assert.equal(page.data[0].id, "job_1");
  const ids = [];
  for await (const { id } of list) ids.push(id);
  assert.deepEqual(ids, ["job_1", "job_2"]);
  assert.deepEqual(asked, ["/api/v1/jobs?limit=1", "/api/v1/jobs?limit=1&after=job_1"]);
});

test("webhooks are verified without a client, whatever the headers come in", async () => {
  const secret = `whsec_${Buffer.from("a secret of thirty-two bytes 001").toString("base64")}`;
  const body = JSON.stringify({ type: "job.completed", timestamp: "2026-03-01T12:00:00.000Z", data: job });
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`evt_1.${timestamp}.${body}`).digest("base64");
  const headers = { "webhook-id": "evt_1", "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` };
  for (const form of [headers, new Headers(headers), Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]))]) {
    assert.equal((await sdk.verifyWebhook(Buffer.from(body), form, secret)).data.id, "job_1");
  }
  await assert.rejects(sdk.verifyWebhook(`${body} `, headers, secret), sdk.WebhookVerificationError);
});

test("the user agent has the version, and the version is the package's", async (t) => {
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  let agent;
  const base = await serve(t, (request, response) => {
    agent = request.headers["user-agent"];
    json(response, 200, {});
  });
  await client(base).credits();
  assert.equal(agent, `vydra-typescript/${version}`);
});

test("the bundle for browsers is under 15 kB, and needs nothing of Node", async (t) => {
  const { outputFiles } = await build({ entryPoints: [new URL("../dist/web.js", import.meta.url).pathname], bundle: true, minify: true, platform: "browser", format: "esm", write: false });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  t.diagnostic(`${size} bytes minified and gzipped`);
  assert.ok(size < 15_000, `${size} bytes`);
  assert.ok(!/node:|process\.env|require\(/.test(outputFiles[0].text));
});

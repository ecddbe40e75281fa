// Runs sdks/cases, which say the same of every client.
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as sdk from "../dist/index.js";
import { bodyOf, FakeClock, folder, serve, test } from "./support.mjs";

const KEY = "KEY";
const seconds = ["timeout", "silence", "retryBudget", "maxRetryAfter", "tolerance"];
const millis = (options = {}) => Object.fromEntries(Object.entries(options).map(([name, value]) => [name, seconds.includes(name) ? value * 1000 : value]));
const files = (await readdir(new URL("../../cases/", import.meta.url))).filter((name) => name.endsWith(".json")).sort();

/** Everything that `wanted` names must be so in `got`. */
function subset(got, wanted, where) {
  if (Array.isArray(wanted)) {
    assert.ok(Array.isArray(got), `${where} is ${JSON.stringify(got)}, not a list`);
    assert.equal(got.length, wanted.length, `the length of ${where}: ${JSON.stringify(got)}`);
    wanted.forEach((one, index) => subset(got[index], one, `${where}[${index}]`));
  } else if (wanted !== null && typeof wanted === "object") {
    assert.ok(got !== null && typeof got === "object", `${where} is ${JSON.stringify(got)}`);
    for (const [name, value] of Object.entries(wanted)) subset(got[name], value, `${where}.${name}`);
  } else assert.deepEqual(got ?? null, wanted, where);
}

/** A server that plays a case's exchanges, and says what was wrong with the requests. */
async function script(t, one, clock, fill) {
  const problems = [];
  const seen = new Map();
  let next = 0;
  const url = await serve(t, async (request, response) => {
    const body = await bodyOf(request);
    const index = next++;
    const exchange = fill(one.exchanges ?? [])[index];
    if (exchange === undefined) {
      problems.push(`one request too many: ${request.method} ${request.url}`);
      return response.writeHead(418).end();
    }
    try {
      expected(exchange.expect ?? {}, request, body, seen, index);
    } catch (error) {
      problems.push(error.message);
    }
    play(exchange.answer, response, clock);
  });
  return { url, problems, count: () => next };
}

function expected(expect, request, body, seen, index) {
  const where = `request ${index + 1}`;
  const url = new URL(request.url, "http://case");
  if (expect.method) assert.equal(request.method, expect.method, `${where}: method`);
  if (expect.path) assert.equal(url.pathname, expect.path, `${where}: path`);
  if (expect.query) {
    const wanted = Object.fromEntries(Object.entries(expect.query).map(([name, value]) => [name, String(value)]));
    assert.deepEqual(Object.fromEntries(url.searchParams), wanted, `${where}: query`);
  }
  for (const [name, value] of Object.entries(expect.headers ?? {})) {
    const got = request.headers[name.toLowerCase()] ?? null;
    if (value === "$same") {
      assert.ok(got, `${where}: ${name} is missing`);
      assert.equal(got, seen.get(name) ?? got, `${where}: ${name} changed`);
      seen.set(name, got);
    } else assert.equal(got, value, `${where}: ${name}`);
  }
  if (expect.json !== undefined) assert.deepEqual(JSON.parse(body.toString()), expect.json, `${where}: body`);
  if (expect.multipart !== undefined) multipart(expect.multipart, request, body, where);
}

function multipart(wanted, request, body, where) {
  const boundary = /boundary=(\S+)/.exec(request.headers["content-type"])[1];
  const [head, ...rest] = body.toString("latin1").split("\r\n\r\n");
  const end = `\r\n--${boundary}--\r\n`;
  const content = rest.join("\r\n\r\n");
  assert.ok(head.startsWith(`--${boundary}\r\n`) && content.endsWith(end), `${where}: the body is no form`);
  const { name, filename } = /name="(?<name>[^"]*)"; filename="(?<filename>[^"]*)"/.exec(head).groups;
  const base64 = Buffer.from(content.slice(0, -end.length), "latin1").toString("base64");
  assert.deepEqual({ name, filename, base64 }, wanted, `${where}: file`);
}

function play(answer, response, clock) {
  clock.time += (answer.takes ?? 0) * 1000;
  if (answer.fault === "reset") return response.destroy();
  if (answer.fault === "hang") return;
  const { json, text, base64, events } = answer;
  const content = json !== undefined ? Buffer.from(JSON.stringify(json)) : base64 !== undefined ? Buffer.from(base64, "base64") : Buffer.from(text ?? events ?? "");
  const type = json !== undefined ? "application/json" : events !== undefined ? "text/event-stream" : undefined;
  // Some a fetch repeats by itself what it sent on a connection of before.
  response.writeHead(answer.status ?? 200, { connection: "close", ...(type && { "content-type": type }), ...(events === undefined && answer.status !== 204 && { "content-length": content.length }), ...answer.headers });
  if (answer.fault !== "half") return response.end(content);
  // What was written goes out before the connection ends.
  response.write(events === undefined ? content.subarray(0, content.length >> 1) : content, () => response.destroy());
}

const collect = async (iterable) => {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
};
const pages = async (list) => ({ data: (await list).data, items: await collect(list) });

/** What is to be sent, in the form that the case asks for. */
async function source({ base64, as, name = "file" }, at) {
  const content = Buffer.from(base64, "base64");
  if (as === "bytes") return new Uint8Array(content);
  if (as === "stream") return new Blob([content]).stream();
  const path = join(at, name);
  await writeFile(path, content);
  return path;
}

/** What a case calls: the name in docs/clients.md, its arguments by name. */
function call(client, { op, args = {} }, at) {
  const { job, id = job, url, input, workflow, path, model, ...rest } = args;
  const options = millis(rest);
  let progress = null;
  const onProgress = (received, total) => (progress = [received, total]);
  const calls = {
    "generate.image": () => client.generate.image(input, options),
    "generate.video": () => client.generate.video(input, options),
    "generate.speech": () => client.generate.speech(input, options),
    "jobs.create": () => client.jobs.create(workflow, input, options),
    "jobs.get": () => client.jobs.get(id),
    "jobs.cancel": () => client.jobs.cancel(id),
    "jobs.charges": () => client.jobs.charges(id),
    "jobs.list": () => pages(client.jobs.list({ workflow, ...options })),
    "models.list": () => client.models.list(options),
    "models.get": () => client.models.get(args.slug ?? id),
    "models.run": () => client.models.run(path ?? model, input, options),
    "keys.list": () => client.keys.list(),
    "keys.get": () => client.keys.get(id),
    "keys.revoke": () => client.keys.revoke(id),
    "assets.list": () => pages(client.assets.list({ workflow, ...options })),
    "assets.get": () => client.assets.get(id),
    "assets.delete": () => client.assets.delete(id),
    quote: () => client.quote({ ...(workflow && { workflow }), ...(model && { model }), input }),
    credits: () => client.credits(),
    usage: () => client.usage(rest),
    transactions: () => pages(client.transactions(options)),
    organization: () => client.organization(),
    rateLimits: () => client.rateLimits(),
    events: () => client.events(rest),
    wait: () => client.wait(id, options),
    stream: async () => ({ events: await collect(client.stream(id, options)) }),
    upload: async () => client.upload(await source(args.file, at), { filename: args.filename, type: args.type }),
    bytes: async () => ({ base64: Buffer.from(await client.bytes(url, { onProgress })).toString("base64"), progress }),
    download: async () => {
      await client.download(url, join(at, args.to), { onProgress });
      return { base64: await readFile(join(at, args.to), "base64"), progress };
    },
    "webhooks.verify": () => client.webhooks.verify(args.body, args.headers, args.secret),
    "webhooks.test": () => client.webhooks.test(args.endpointId),
    "webhooks.endpoints.list": () => client.webhooks.endpoints.list(),
    "webhooks.endpoints.create": () => client.webhooks.endpoints.create(rest),
    "webhooks.endpoints.update": () => client.webhooks.endpoints.update(id, args.changes ?? rest),
    "webhooks.deliveries.list": () => pages(client.webhooks.deliveries.list(options)),
    "webhooks.deliveries.resend": () => client.webhooks.deliveries.resend(id),
    "webhooks.secret.get": () => client.webhooks.secret.get(),
    "webhooks.secret.rotate": () => client.webhooks.secret.rotate(args.overlapHours),
  };
  assert.ok(calls[op], `no call named ${op}`);
  return calls[op]();
}

async function run(t, one) {
  const at = await folder(t);
  const clock = new FakeClock(one.now ? Date.parse(one.now) : undefined, one.client?.random ?? 1);
  const urls = {};
  const fill = (value) => JSON.parse(JSON.stringify(value).replaceAll("{server}", urls.server).replaceAll("{other}", urls.other));
  const server = await script(t, one, clock, fill);
  const other = await script(t, { exchanges: one.other }, clock, fill);
  Object.assign(urls, { server: server.url, other: other.url });

  const environment = { XDG_CONFIG_HOME: at, VYDRA_BASE_URL: "", VYDRA_API_KEY: "", ...fill(one.env ?? {}) };
  const before = Object.fromEntries(Object.keys(environment).map((name) => [name, process.env[name]]));
  Object.assign(process.env, environment);
  t.after(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  if (one.credentials !== undefined) {
    await mkdir(join(at, "vydra"));
    const text = typeof one.credentials === "string" ? one.credentials : JSON.stringify(fill(one.credentials));
    await writeFile(join(at, "vydra", "credentials.json"), text);
  }

  const { random: _, ...given } = fill(one.client ?? {});
  const defaults = { baseUrl: server.url, apiKey: KEY };
  const options = Object.fromEntries(Object.entries({ ...defaults, ...millis(given), clock }).filter(([, value]) => value !== null));
  let result;
  let error;
  try {
    result = await call(new sdk.Vydra(options), fill(one.call), at);
  } catch (thrown) {
    error = thrown;
  }
  assert.deepEqual([...server.problems, ...other.problems.map((problem) => `at the other server: ${problem}`)], []);
  if (one.error === undefined && error !== undefined) throw error;
  assert.equal(server.count(), (one.exchanges ?? []).length, "the number of requests");
  assert.equal(other.count(), (one.other ?? []).length, "the number of requests to the other server");
  if (one.waits !== undefined) assert.deepEqual(clock.waits.map((wait) => Math.round(wait * 1e6) / 1e6), one.waits, "waits");
  if (one.error !== undefined) {
    assert.ok(error, `no error, but ${JSON.stringify(result)}`);
    const { class: name, classes = [], friendly, ...fields } = one.error;
    for (const each of [name, ...classes].filter(Boolean)) assert.ok(error instanceof sdk[each], `a ${error.name} (${error.message}) is no ${each}`);
    assert.ok(error instanceof sdk.VydraError);
    if (friendly !== undefined) assert.equal(error.friendly(), friendly);
    subset(error, fill(fields), "error");
  } else subset(result, fill(one.result ?? null) ?? result, "result");
  // Of a download that failed nothing is left, of one that did not only the file.
  if (one.call.op === "download") assert.deepEqual(await readdir(at), one.error === undefined ? [one.call.args.to] : []);
}

let total = 0;
for (const file of files) {
  for (const one of JSON.parse(await readFile(new URL(`../../cases/${file}`, import.meta.url), "utf8"))) {
    total++;
    test(`${file}: ${one.name}`, (t) => run(t, one));
  }
}
test("there are at least 60 cases", () => assert.ok(total >= 60, `only ${total}`));

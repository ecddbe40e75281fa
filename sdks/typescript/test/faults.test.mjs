// A thousand calls through a bad line, after which the ledger shows no call that was paid for twice.
import assert from "node:assert/strict";
import { request as send } from "node:http";
import { ApiError, ConnectionError, Vydra } from "../dist/index.js";
import { bodyOf, realServer, serve, skip, test } from "./support.mjs";

const CALLS = 1000;
const SEED = Number(process.env.VYDRA_SEED ?? Date.now() % 1e9);

function mulberry(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A clock that runs two hundred times as fast: pauses are pauses, and short. */
const FAST = 200;
const clock = () => {
  const start = Date.now();
  return {
    now: () => Date.UTC(2026, 0, 1) + (Date.now() - start) * FAST,
    random: Math.random,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms / FAST)),
  };
};

const limited = (headers, body = {}) => ({ status: 429, headers, body: { error: "Rate limit exceeded", code: "RATE_LIMIT_EXCEEDED", ...body } });
// Before: the server never hears of the request. After: it does, and its answer is lost.
const before = [
  "reset",
  limited({ "retry-after": "2" }),
  limited({ "retry-after": new Date(Date.UTC(2026, 0, 1, 0, 0, 5)).toUTCString() }),
  limited({}, { retryAfter: 1 }),
  limited({}),
  limited({ "retry-after": "soon" }),
  { status: 503, headers: {}, body: { error: "Busy", code: "UNAVAILABLE" } },
];
const after = ["lost", "half", { status: 500, headers: {}, body: { error: "Oh", code: "INTERNAL_ERROR" } }, { status: 502, headers: { "content-type": "text/html" }, body: "<h1>Bad Gateway</h1>" }];

function answer(response, { status, headers, body }) {
  response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
}

/** Passes requests on to the server, and does to four of ten what lines and proxies do. */
function badLine(t, target, random, seen) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  return serve(t, async (request, response) => {
    const body = await bodyOf(request);
    const share = random();
    const fault = share < 0.2 ? [pick(before), undefined] : share < 0.4 ? [undefined, pick(after)] : [];
    if (fault[0] !== undefined) {
      seen.add(fault[0]);
      return fault[0] === "reset" ? request.socket.destroy() : answer(response, fault[0]);
    }
    const { host: _, connection: __, ...headers } = request.headers;
    const passed = send(new URL(request.url, target), { method: request.method, headers });
    passed.on("error", () => response.destroy());
    passed.on("response", async (came) => {
      const content = await bodyOf(came);
      if (fault[1] === undefined) return response.writeHead(came.statusCode, came.headers).end(content);
      seen.add(fault[1]);
      if (fault[1] === "lost") request.socket.destroy();
      else if (fault[1] === "half") {
        response.writeHead(came.statusCode, came.headers);
        response.write(content.subarray(0, content.length >> 1), () => response.destroy());
      } else answer(response, fault[1]);
    });
    passed.end(body);
  });
}

test(`${CALLS} calls through a bad line, none paid for twice (VYDRA_SEED=${SEED})`, { skip, timeout: 300_000 }, async (t) => {
  const { baseUrl, testKey } = await realServer(t);
  const seen = new Set();
  const line = await badLine(t, baseUrl, mulberry(SEED), seen);
  const calls = Array.from({ length: CALLS }, (_, index) => index);
  const acknowledged = new Map();
  const given = new Map();
  const next = calls.values();
  const work = async () => {
    for (const index of next) {
      const client = new Vydra({ baseUrl: line, apiKey: testKey, clock: clock(), retryBudget: Infinity });
      try {
        // The prompt tells which call a job belongs to.
        const made = index % 2 === 0 ? await client.jobs.create("generate_image", { prompt: `call ${index}` }) : await client.models.run("gemini/generate", { prompt: `call ${index}` }, { respondAsync: true });
        acknowledged.set(index, "id" in made ? made.id : made.jobId);
        // Nor does the server hold more jobs at a time than the plan allows.
        assert.equal((await client.wait(made, { timeout: Infinity })).urls.length, 1);
      } catch (error) {
        assert.ok(error instanceof ConnectionError || error instanceof ApiError, `${error.stack}`);
        const why = error.code ?? error.status ?? error.name;
        given.set(why, (given.get(why) ?? 0) + 1);
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));

  const honest = new Vydra({ baseUrl, apiKey: testKey });
  const jobs = new Map();
  for await (const job of honest.jobs.list({ limit: 100 })) jobs.set(job.id, Number(/^call (\d+)$/.exec(job.input.prompt)[1]));
  const perCall = new Map();
  for (const [id, index] of jobs) perCall.set(index, [...(perCall.get(index) ?? []), id]);
  const twice = [...perCall.values()].filter((ids) => ids.length > 1);
  assert.deepEqual(twice, [], "calls that made two jobs");
  for (const [index, id] of acknowledged) assert.deepEqual(perCall.get(index), [id], `call ${index} is not the job that it was told of`);

  const charges = new Map();
  for await (const row of honest.transactions({ limit: 100, type: "charge" })) charges.set(row.jobId, (charges.get(row.jobId) ?? 0) + 1);
  assert.deepEqual([...charges.keys()].sort(), [...jobs.keys()].sort(), "jobs and charges");
  assert.ok([...charges.values()].every((count) => count === 1), "a job that was charged twice");
  assert.equal(seen.size, before.length + after.length, "not every fault came");
  t.diagnostic(`${acknowledged.size} acknowledged, given up ${JSON.stringify([...given])}, ${jobs.size} jobs, ${charges.size} charges`);
  assert.ok(acknowledged.size > CALLS * 0.9, `only ${acknowledged.size} calls were answered`);
});

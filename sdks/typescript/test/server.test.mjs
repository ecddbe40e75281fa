// Against a real server: every code of the catalogue, every kind of result, and what faults on the way cost.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as sdk from "../dist/index.js";
import { FakeClock, folder, realServer, skip, test } from "./support.mjs";

const catalogue = JSON.parse(await readFile(new URL("../../errors.json", import.meta.url), "utf8"));
const classOf = {
  METHOD_NOT_ALLOWED: "MethodNotAllowedError",
  NOT_FOUND: "ResourceNotFoundError",
  INTERNAL_ERROR: "InternalError",
};
const camel = (code) => code.toLowerCase().replace(/(^|_)(.)/g, (_, __, letter) => letter.toUpperCase());
const numbers = /\{(retryAfter|creditsRequired|creditsRemaining)\}/g;

test("every code of the catalogue, provoked", { skip }, async (t) => {
  const { baseUrl, testKey } = await realServer(t);
  const client = new sdk.Vydra({ baseUrl, apiKey: testKey, maxRetries: 0 });
  for (const { code, status, retryable, friendly } of catalogue) {
    await t.test(code, async () => {
      const error = await client.generate.image({ prompt: "a boat" }, { simulate: code }).then(() => assert.fail("no error"), (thrown) => thrown);
      assert.ok(error instanceof sdk[classOf[code] ?? `${camel(code)}Error`], `${error}`);
      assert.equal(error.name, classOf[code] ?? `${camel(code)}Error`);
      assert.equal(error.code, code);
      assert.equal(error.status, status);
      assert.equal(error.retryable, retryable);
      assert.equal(error.friendly(), friendly.replace(numbers, (_, name) => error[name]));
      if (error.job === undefined) assert.match(error.requestId, /^req_/);
      else assert.equal(error.refund.creditsRefunded, 5);
    });
  }
  await t.test("a prompt that the provider refuses", async () => {
    const error = await client.generate.image({ prompt: "a boat" }, { simulate: "CONTENT_POLICY" }).catch((thrown) => thrown);
    assert.ok(error instanceof sdk.GenerationFailedError);
    assert.equal(error.retryable, false);
    assert.equal(error.details.reason, "content_policy");
  });
  await t.test("a call of a model that fails is paid back, and not repeated", async () => {
    const patient = new sdk.Vydra({ baseUrl, apiKey: testKey, clock: new FakeClock(Date.now()) });
    const before = await patient.credits();
    const error = await patient.models.run("gemini/generate", { prompt: "a boat" }, { simulate: "GENERATION_FAILED" }).catch((thrown) => thrown);
    assert.ok(error instanceof sdk.GenerationFailedError);
    assert.deepEqual(error.refund, { applied: true, creditsRefunded: 5 });
    assert.equal((await patient.credits()).creditsRemaining, before.creditsRemaining);
  });
});

test("image, speech and video, from the prompt to the file", { skip }, async (t) => {
  const { baseUrl, liveKey } = await realServer(t);
  const at = await folder(t);
  const client = new sdk.Vydra({ baseUrl, apiKey: liveKey });
  const made = {
    "image.png": await client.generate.image({ prompt: "a boat" }),
    "speech.audio": await client.generate.speech({ text: "hello" }),
    "video.file": await client.generate.video({ prompt: "waves", duration: 1 }),
  };
  for (const [name, job] of Object.entries(made)) {
    assert.equal(job.status, "completed");
    assert.equal(job.urls[0], job.url);
    let last;
    const { size, type } = await client.download(job.url, join(at, name), { onProgress: (...progress) => (last = progress) });
    assert.equal(type, job.mimeType);
    assert.equal(size, job.output.assets[0].size);
    assert.deepEqual(last, [size, size]);
    assert.deepEqual(new Uint8Array(await readFile(join(at, name))), await client.bytes(job.url));
  }
  assert.deepEqual([...(await readFile(join(at, "image.png"))).subarray(1, 4)], [...Buffer.from("PNG")]);

  const picture = await readFile(join(at, "image.png"));
  const sent = [await client.upload(join(at, "image.png")), await client.upload(picture, { filename: "a.png" }), await client.upload(new Blob([picture]).stream())];
  for (const { type, url } of sent) {
    assert.equal(type, "image/png");
    assert.ok((await client.bytes(url)).length > 1000);
  }
  const edited = await client.models.run("gemini/edit", { prompt: "make it winter", imageUrl: sent[0].url });
  assert.equal(edited.status, "completed");

  const jobs = [];
  for await (const job of client.jobs.list({ limit: 2 })) jobs.push(job.id);
  assert.equal(new Set(jobs).size, 4);
  const page = await client.jobs.list({ limit: 2 });
  assert.equal(page.data.length, 2);
  assert.equal(page.pagination.count, 4);

  assert.equal((await client.quote({ workflow: "generate_image", input: { prompt: "a boat" } })).credits, 5);
  assert.ok((await client.models.list()).count >= 8);
  assert.equal((await client.organization()).name, "dev");
  assert.ok((await client.usage({ by: "model" })).totals);
  assert.equal((await client.events({ limit: 1 })).data[0].type, "job.completed");
  assert.match((await client.webhooks.secret.get()).secret, /^whsec_/);
  assert.ok(await client.jobs.charges(made["image.png"]));
});

test("progress, to its end, and a wait that cancels its job", { skip }, async (t) => {
  const { baseUrl, testKey } = await realServer(t);
  const client = new sdk.Vydra({ baseUrl, apiKey: testKey });
  const job = await client.jobs.create("generate_image", { prompt: "a boat" }, { simulate: "SLOW=1s" });
  const events = [];
  for await (const event of client.stream(job)) events.push(event);
  assert.ok(events.length >= 2);
  assert.equal(events.at(-1).event, "end");
  assert.equal(events.at(-1).job.status, "completed");
  assert.ok(events.every(({ progress }, index) => index === 0 || progress >= events[index - 1].progress));

  const before = await client.credits();
  const stop = new AbortController();
  const slow = await client.jobs.create("generate_image", { prompt: "a boat" }, { simulate: "SLOW=60s" });
  const waited = client.wait(slow, { signal: stop.signal, cancelOnAbort: true });
  stop.abort(new Error("enough"));
  await assert.rejects(waited, /enough/);
  await assert.rejects(client.wait(slow), sdk.JobCancelledError);
  assert.equal((await client.credits()).creditsRemaining, before.creditsRemaining);
});

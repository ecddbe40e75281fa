// The installed package in a page of a browser that is served from another origin than the API.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { bodyOf, ended, folder, project, realServer, serve, skip, test, unless } from "./support.mjs";

const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
const without = skip || unless(existsSync(chromium), `no browser at ${chromium}: not tested in one`);

test("a page runs the quick start, sends a file and reads an error", { skip: without, timeout: 120_000 }, async (t) => {
  const { baseUrl, liveKey, testKey } = await realServer(t);
  const at = await project(t);
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const start = /## In a browser[\s\S]*?```js\n([\s\S]*?)```/.exec(readme)[1].replace(/^import .*$/m, "");
  const page = `<!doctype html><title>vydra</title><img>
  <script type="importmap">{"imports": {"vydra": "/web.js"}}</script>
  <script type="module">
    const told = {};
    try {
      const { Vydra, InsufficientCreditsError } = await import("vydra");
      const [baseUrl, apiKey] = ["${baseUrl}", "${liveKey}"];
      ${start}
      const image = document.querySelector("img");
      await image.decode();
      told.shown = image.naturalWidth > 0;
      const bytes = await vydra.bytes(job.url);
      told.status = job.status;
      told.magic = [...bytes.subarray(1, 4)];
      told.complete = bytes.length === job.output.assets[0].size;
      told.uploaded = (await vydra.upload(new File([bytes], "boat.png"))).filename;
      told.streamed = (await vydra.upload(new Blob([bytes]).stream(), { filename: "stream.png" })).filename;
      const sandbox = new Vydra({ baseUrl: "${baseUrl}", apiKey: "${testKey}", maxRetries: 0 });
      const error = await sandbox.generate.image({ prompt: "a boat" }, { simulate: "INSUFFICIENT_CREDITS" }).catch((thrown) => thrown);
      told.error = error instanceof InsufficientCreditsError && error.friendly();
      const events = [];
      for await (const { event } of sandbox.stream(await sandbox.jobs.create("generate_image", { prompt: "a boat" }))) events.push(event);
      told.end = events.at(-1);
      const redirected = await new Vydra({ baseUrl: location.origin + "/moved", apiKey: "${testKey}", maxRetries: 0 }).credits().catch((thrown) => thrown);
      told.redirect = redirected.code;
      told.download = (await vydra.download(job.url, "boat.png").catch((thrown) => thrown)).name;
    } catch (error) {
      told.thrown = String(error?.stack ?? error);
    }
    await fetch("/told", { method: "POST", body: JSON.stringify(told) });
  </script>`;
  let done;
  const told = new Promise((resolve) => (done = resolve));
  const leaked = [];
  const site = await serve(t, async (request, response) => {
    if (request.url === "/told") {
      done(JSON.parse((await bodyOf(request)).toString()));
      return response.end();
    }
    if (request.url === "/web.js") return response.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(join(at, "node_modules/vydra/dist/web.js")));
    if (request.url.startsWith("/moved")) return response.writeHead(302, { location: "/elsewhere" }).end();
    if (request.url === "/elsewhere") leaked.push(request.headers.authorization);
    response.writeHead(200, { "content-type": "text/html" }).end(page);
  });
  const profile = await folder(t);
  const browser = spawn(chromium, ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--user-data-dir=${profile}`, site], { stdio: "ignore" });
  try {
    assert.deepEqual(await told, {
      shown: true,
      status: "completed",
      magic: [...Buffer.from("PNG")],
      complete: true,
      uploaded: "boat.png",
      streamed: "stream.png",
      error: "You've run out of credits: this costs 5, and you have 0.",
      end: "end",
      redirect: "UNEXPECTED_REDIRECT",
      download: "ConfigurationError",
    });
    assert.deepEqual(leaked, []);
  } finally {
    await ended(browser);
  }
});

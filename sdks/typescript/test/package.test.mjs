// What is published, as somebody gets it: packed, installed into an empty project, and run.
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { project, realServer, root, run, runtime, skip, test, unless } from "./support.mjs";

const deno = await runtime("@deno", "deno");
const bun = await runtime("@oven", "bin/bun");
const runtimes = "npm ci --ignore-scripts --prefix runtimes";

const TYPES = "catalogue client config errors files index list openapi platform public sse transport types version webhooks".split(" ");
const FILES = [
  "LICENSE",
  "README.md",
  "package.json",
  ...["index.js", "index.cjs", "web.js", "web.d.ts", ...TYPES.flatMap((name) => [`${name}.d.ts`, `${name}.d.cts`])].map((name) => `dist/${name}`),
];

test("the package holds these files and no others, and needs no package", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root });
  const [{ files }] = JSON.parse(stdout);
  assert.deepEqual(files.map(({ path }) => path).sort(), FILES.sort());
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  for (const name of ["dependencies", "peerDependencies", "optionalDependencies", "bundleDependencies"]) assert.equal(manifest[name], undefined, name);
  for (const name of ["preinstall", "install", "postinstall"]) assert.equal(manifest.scripts[name], undefined, name);
  assert.equal(manifest.license, "Apache-2.0");
  const [ours, licence] = await Promise.all(["LICENSE", "../../LICENSE"].map((name) => readFile(join(root, name), "utf8")));
  assert.equal(ours, licence);
});

const snippet = (text, after = "") => /```(?:ts|js)\n([\s\S]*?)```/.exec(text.slice(text.indexOf(after)))[1];
const readme = await readFile(join(root, "README.md"), "utf8");
const start = snippet(readme);

/** The ways to run a program that imports the package. */
const ways = {
  "ESM in Node": { file: "start.mjs", with: [process.execPath] },
  "CJS in Node": { file: "start.cjs", with: [process.execPath] },
  Deno: { file: "start.mjs", with: [deno, "run", "--allow-all"], skip: unless(deno, `no Deno (${runtimes}): not tested in it`) },
  Bun: { file: "start.mjs", with: [bun], skip: unless(bun, `no Bun (${runtimes}): not tested in it`) },
};

test("the quick start runs from the installed package", { skip }, async (t) => {
  const { baseUrl, liveKey } = await realServer(t);
  const at = await project(t);
  const env = { ...process.env, VYDRA_BASE_URL: baseUrl, VYDRA_API_KEY: liveKey };
  await writeFile(join(at, "start.mjs"), start);
  await writeFile(join(at, "start.cjs"), `const { Vydra } = require("vydra");\n(async () => {${start.replace(/^import .*$/m, "")}})();`);
  const first = snippet(await readFile(join(root, "../../README.md"), "utf8"));
  await writeFile(join(at, "first.mjs"), first);
  for (const [name, way] of Object.entries({ ...ways, "the README of the whole": { file: "first.mjs", with: [process.execPath] } })) {
    await t.test(name, { skip: way.skip }, async () => {
      const where = join(at, name.replaceAll(" ", "-"));
      await mkdir(where);
      const [program, ...words] = way.with;
      await run(program, [...words, join(at, way.file)], { cwd: where, env });
      assert.deepEqual(await readdir(where), ["fox.png"]);
      assert.deepEqual([...(await readFile(join(where, "fox.png"))).subarray(1, 4)], [...Buffer.from("PNG")]);
    });
  }
});

for (const [name, { with: [program], skip }] of Object.entries(ways).filter(([name]) => !name.includes("Node"))) {
  test(`all cases in ${name}`, { skip }, async () => {
    const words = name === "Deno" ? ["test", "--allow-all", "--no-check"] : ["test"];
    const { stdout, stderr } = await run(program, [...words, "./test/cases.test.mjs"], { cwd: root, env: { ...process.env, NO_COLOR: "1" } }).catch((failed) => assert.fail(failed.stdout + failed.stderr));
    const passed = /^(?:ok \| )? ?(\d+) pass/m.exec(stdout + stderr);
    let cases = 1;
    for (const file of await readdir(join(root, "../cases"))) if (file.endsWith(".json")) cases += JSON.parse(await readFile(join(root, "../cases", file), "utf8")).length;
    assert.equal(Number(passed?.[1]), cases, stdout + stderr);
  });
}

const CONSUMER = `import { Vydra, InsufficientCreditsError, verifyWebhook, type CompletedJob, type Hooks, type WebhookEvent } from "vydra";
export async function made(hooks: Hooks): Promise<string> {
  const vydra = new Vydra({ baseUrl: "http://x", apiKey: "k", hooks });
  const job: CompletedJob = await vydra.generate.image({ prompt: "a", aspect_ratio: "16:9" });
  // @ts-expect-error: a prompt is needed
  await vydra.jobs.create("generate_image", {});
  await vydra.jobs.create("a-workflow-of-ours", { anything: 1 });
  for await (const { progress } of vydra.stream(job)) progress.toFixed();
  for await (const one of vydra.jobs.list()) one.urls.at(0);
  const event: WebhookEvent = await verifyWebhook("{}", {}, "whsec_");
  try { return job.url + event.type; } catch (error) { return error instanceof InsufficientCreditsError ? String(error.creditsRequired) : ""; }
}
`;

test("its types are found in each way to look for them", async (t) => {
  const at = await project(t);
  const tsc = async (...words) => {
    const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"];
    await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...strict, ...words], { cwd: at }).catch((error) => assert.fail(error.stdout));
  };
  for (const name of ["use.mts", "use.cts", "use.ts"]) await writeFile(join(at, name), CONSUMER);
  await tsc("--module", "node16", "--moduleResolution", "node16", "use.mts", "use.cts");
  await tsc("--module", "nodenext", "--moduleResolution", "nodenext", "use.mts", "use.cts");
  await tsc("--module", "esnext", "--moduleResolution", "bundler", "use.ts");
  await tsc("--module", "esnext", "--moduleResolution", "bundler", "--customConditions", "browser", "use.ts");
});

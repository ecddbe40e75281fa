// Writes dist: one file for Node as ESM and as CJS, one for browsers, and types for each way to import them.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
rmSync(at("dist"), { recursive: true, force: true });
execFileSync(process.execPath, [at("node_modules/typescript/bin/tsc"), "-p", at("tsconfig.json"), "--noEmit", "false", "--emitDeclarationOnly"], { stdio: "inherit" });
for (const name of readdirSync(at("dist")).filter((name) => name.endsWith(".d.ts") && name !== "web.d.ts")) {
  const text = readFileSync(at(`dist/${name}`), "utf8").replace(/(from|import\()( ?"\.\/[^"]+)\.js"/g, '$1$2.cjs"');
  writeFileSync(at(`dist/${name.replace(/\.ts$/, ".cts")}`), text);
}
const common = { bundle: true, target: "es2022", charset: "utf8", legalComments: "none" };
await build({ ...common, entryPoints: [at("src/index.ts")], platform: "node", format: "esm", outfile: at("dist/index.js") });
await build({ ...common, entryPoints: [at("src/index.ts")], platform: "node", format: "cjs", outfile: at("dist/index.cjs") });
await build({ ...common, entryPoints: [at("src/web.ts")], platform: "browser", format: "esm", outfile: at("dist/web.js") });

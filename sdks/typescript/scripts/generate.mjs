// Writes src/openapi.ts and src/catalogue.ts from what the server says of itself. With --check it only tells whether they are current.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const root = new URL("../../../", import.meta.url);
const source = new URL("../src/", import.meta.url);
const read = (path) => JSON.parse(readFileSync(new URL(path, root), "utf8"));
const jsonOf = (operation) => operation.requestBody.content["application/json"].schema;

const api = read("openapi.json");
const calls = Object.entries(api.paths).filter(([path, item]) => path.startsWith("/api/v1/models/") && !path.includes("{") && item.post);
const models = Object.fromEntries(calls.map(([path, item]) => [path.slice("/api/v1/models/".length), jsonOf(item.post)]));
const variants = jsonOf(api.paths["/api/v1/jobs"].post).oneOf.filter((variant) => variant.properties?.workflow?.const);
const workflows = Object.fromEntries(variants.map(({ properties }) => [properties.workflow.const, properties.input]));
const table = (properties, description) => ({ type: "object", description, required: Object.keys(properties), properties });

// The layer by hand has calls of its own: of the document only the schemas are wanted, and what models and workflows take.
const types = await openapiTS(
  {
    openapi: api.openapi,
    info: api.info,
    paths: {},
    components: {
      schemas: {
        ...api.components.schemas,
        ModelInputs: table(models, "What each model takes, by its path."),
        WorkflowInputs: table(workflows, "What each workflow takes, by its name."),
      },
    },
  },
  { defaultNonNullable: false },
);
const catalogue = read("sdks/errors.json").map(({ code, status, retryable, friendly }) => `  ${code}: { status: ${status}, retryable: ${retryable}, friendly: ${JSON.stringify(friendly)} },`);

const written = "// Written by scripts/generate.mjs. Do not edit.\n\n";
const files = {
  // What a comment begins with is its description; a tag of that name no tool knows.
  "openapi.ts": written + astToString(types).replaceAll("@description ", "").replace("export interface components", "/** What the server sends and takes, as its OpenAPI document describes it. */\n$&"),
  "catalogue.ts": `${written}/** Every code of the server: its status, whether a repetition can help, and what to tell people. */\nexport const CATALOGUE = {\n${catalogue.join("\n")}\n} as const;\n`,
};
for (const [name, text] of Object.entries(files)) {
  const file = new URL(name, source);
  if (!process.argv.includes("--check")) writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) {
    console.error(`src/${name} is not current: npm run generate`);
    process.exitCode = 1;
  }
}

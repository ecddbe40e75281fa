// A picture for each line of a file, a few at a time, and never for more than so many credits.
//   node batch.mjs prompts.txt pictures 200
import { mkdir, readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { AuthenticationError, BadRequestError, PaymentRequiredError, PermissionDeniedError, RateLimitError, Vydra, VydraError } from "vydra";

const [list, folder, cap] = process.argv.slice(2);
const CONCURRENCY = 4;
// What the next one would be told, too.
const HOPELESS = [AuthenticationError, PaymentRequiredError, PermissionDeniedError, RateLimitError];
const vydra = new Vydra();
const prompts = (await readFile(list, "utf8")).split("\n").filter(Boolean);
await mkdir(folder, { recursive: true });

let left = Number(cap);
let made = 0;
const queue = prompts.entries();

async function work() {
  for (const [index, prompt] of queue) {
    const input = { prompt };
    const { credits } = await vydra.quote({ workflow: "generate_image", input });
    // Set aside before it is spent: the others must not spend it meanwhile.
    if (credits > left) return;
    left -= credits;
    try {
      // The same key in the next run: what was bought is not bought again.
      const idempotencyKey = createHash("sha256").update(`${index} ${prompt}`).digest("hex");
      const job = await vydra.generate.image(input, { maxCredits: credits, idempotencyKey });
      await vydra.download(job.url, join(folder, `${String(index + 1).padStart(3, "0")}.png`));
      made++;
    } catch (error) {
      if (!(error instanceof VydraError)) throw error;
      // What was paid back, or refused before it was bought. Whatever else it was, the job may go on and cost what it costs.
      if (error.refund?.applied) left += error.refund.creditsRefunded;
      else if (error instanceof BadRequestError) left += credits;
      else if (HOPELESS.some((kind) => error instanceof kind)) throw error;
      console.error(`${index + 1}: ${error.friendly()}`);
    }
  }
}

await Promise.all(Array.from({ length: CONCURRENCY }, work));
console.log(`${made} of ${prompts.length} made, ${left} of ${cap} credits left`);

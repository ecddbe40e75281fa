// The error handling of the API's documentation, made right. The client repeats what can be repeated, as the server says, and buys
// nothing twice; what is left is told to people in a sentence, and logged whole.
//   VYDRA_BASE_URL=http://127.0.0.1:8787 VYDRA_API_KEY=… node errors.mjs "a boat" boat.png
// With a test key every error can be met: SIMULATE=INSUFFICIENT_CREDITS node errors.mjs
import { ApiError, AuthenticationError, InsufficientCreditsError, RateLimitError, Vydra, VydraError } from "vydra";

const [prompt = "a boat", file = "boat.png"] = process.argv.slice(2);

/** What a program can do with each kind of error. */
function explained(error) {
  if (error instanceof AuthenticationError) return `Authentication failed: ${error.message}`;
  if (error instanceof InsufficientCreditsError) return `Insufficient credits. Need ${error.creditsRequired}, have ${error.creditsRemaining}`;
  // It was waited for as often and as long as is wise.
  if (error instanceof RateLimitError) return `Rate limited. Retry after ${error.retryAfter} s`;
  if (error instanceof ApiError && error.refund?.applied) return `${error.message}. ${error.refund.creditsRefunded} credits came back`;
  return error.message;
}

try {
  const vydra = new Vydra();
  const job = await vydra.generate.image({ prompt }, { simulate: process.env.SIMULATE });
  await vydra.download(job.url, file);
  console.log(`${file}: ${job.creditsCharged} credits`);
} catch (error) {
  if (!(error instanceof VydraError)) throw error;
  console.error(error.friendly());
  const { code, status, requestId, details } = error;
  console.error(JSON.stringify({ error: explained(error), code, status, requestId, details }));
  process.exitCode = 1;
}

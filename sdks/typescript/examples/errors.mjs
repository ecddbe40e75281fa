// The error handling of the API's documentation, made right: the client tells codes apart, waits, and repeats what can be repeated.
//   VYDRA_BASE_URL=http://127.0.0.1:8787 VYDRA_API_KEY=… node errors.mjs "a boat" boat.png
import { ApiError, InsufficientCreditsError, Vydra, VydraError } from "vydra";

const [prompt = "a boat", file = "boat.png"] = process.argv.slice(2);

try {
  const vydra = new Vydra();
  const job = await vydra.generate.image({ prompt });
  await vydra.download(job.url, file);
  console.log(`${file}: ${job.creditsCharged} credits`);
} catch (error) {
  if (!(error instanceof VydraError)) throw error;
  // For the person in front of the program …
  console.error(error.friendly());
  // … and for the log: all of it, and what to tell the operator.
  if (error instanceof ApiError) console.error(JSON.stringify({ code: error.code, status: error.status, requestId: error.requestId, details: error.details, message: error.message }));
  else console.error(`${error.name}: ${error.message}`);
  process.exitCode = error instanceof InsufficientCreditsError ? 3 : 1;
}

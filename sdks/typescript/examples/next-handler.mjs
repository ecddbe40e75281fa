// app/api/images/route.js of a Next.js application: the key stays on the server, people get the picture or a friendly sentence.
import { ApiError, Vydra, VydraError } from "vydra";

const vydra = new Vydra();

export async function POST(request) {
  const { prompt } = await request.json();
  try {
    // When the browser goes away the job is cancelled, and costs nothing.
    const job = await vydra.generate.image({ prompt }, { signal: request.signal, cancelOnAbort: true });
    return Response.json({ url: job.url });
  } catch (error) {
    if (!(error instanceof VydraError)) throw error;
    console.error(error);
    const status = error instanceof ApiError && error.status === 400 ? 400 : 503;
    const headers = error instanceof ApiError && error.retryAfter !== undefined ? { "retry-after": String(Math.ceil(error.retryAfter)) } : {};
    return Response.json({ error: error.friendly() }, { status, headers });
  }
}

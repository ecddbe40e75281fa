// Receives webhooks: verifies them, takes each event once, and answers before it works.
//   VYDRA_WEBHOOK_SECRET=whsec_… PORT=3000 node webhook-receiver.mjs
import { createServer } from "node:http";
import { verifyWebhook, WebhookVerificationError } from "vydra";

const secret = process.env.VYDRA_WEBHOOK_SECRET;
// In a real program this is a table: an event can come twice, and after a restart too.
const handled = new Set();

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = await verifyWebhook(Buffer.concat(chunks), request.headers, secret);
    response.writeHead(204).end();
    const id = request.headers["webhook-id"];
    if (handled.has(id)) return;
    handled.add(id);
    if (event.type === "job.completed") console.log(`${event.data.id}: ${event.data.resultUrls[0]}`);
    else if (event.type === "job.failed") console.log(`${event.data.id}: ${event.data.error}`);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    response.writeHead(400).end();
  }
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.log(`Listening on http://127.0.0.1:${server.address().port}`));

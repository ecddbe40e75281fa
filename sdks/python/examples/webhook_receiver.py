"""Takes webhooks: `VYDRA_WEBHOOK_SECRET=whsec_… python webhook_receiver.py 3000`."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import vydra

# A program of your own keeps them where it keeps its data: the same event can come twice.
handled: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            event = vydra.webhooks.verify(body, dict(self.headers.items()), os.environ["VYDRA_WEBHOOK_SECRET"])
        except vydra.WebhookVerificationError as error:
            self.log_error("refused: %s", error)
            return self.answer(400)
        if self.headers["webhook-id"] not in handled:
            handled.add(self.headers["webhook-id"])
            if event["type"] == "job.completed":
                print(event["data"]["id"], event["data"]["resultUrls"], flush=True)
            elif event["type"] == "job.failed":
                print(event["data"]["id"], event["data"]["error"], flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver) as server:
        print(f"Listening on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()

import { Client } from "./client.js";
import { ConfigurationError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { VydraOptions } from "./types.js";
import { verify, type VerifyOptions, type WebhookBody, type WebhookEvent, type WebhookHeaders } from "./webhooks.js";

export * from "./public.js";

const noFiles = () => Promise.reject(new ConfigurationError("There are no files here: give bytes or a Blob, and use bytes() in place of download()"));

const web: Platform = {
  get crypto() {
    return globalThis.crypto;
  },
  namesItself: false,
  streams: false,
  env: () => undefined,
  credentials: () => undefined,
  open: noFiles,
  create: noFiles,
};

/** A client of a Vydra server. Server and key come from the options. Whoever can read the page can read its key. */
export class Vydra extends Client {
  constructor(options: VydraOptions) {
    super(options, web);
  }
}

/** Gives the event of a webhook that is the server's and not old; throws {@link WebhookVerificationError} otherwise. Needs no client. */
export function verifyWebhook(body: WebhookBody, headers: WebhookHeaders, secret: string | readonly string[], options: VerifyOptions = {}): Promise<WebhookEvent> {
  return verify(web.crypto, body, headers, secret, options);
}

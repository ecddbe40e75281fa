import { createReadStream, readFileSync } from "node:fs";
import { open, rename, stat, unlink } from "node:fs/promises";
import { webcrypto } from "node:crypto";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { Readable } from "node:stream";
import { Client } from "./client.js";
import { ConfigurationError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { VydraOptions } from "./types.js";
import { verify, type VerifyOptions, type WebhookBody, type WebhookEvent, type WebhookHeaders } from "./webhooks.js";

export * from "./public.js";

const crypto = webcrypto as unknown as Crypto;

const node: Platform = {
  crypto,
  namesItself: true,
  streams: true,
  env: (name) => process.env[name] || undefined,
  credentials() {
    const said = process.env.XDG_CONFIG_HOME ?? "";
    // The XDG specification has a path that is not absolute ignored.
    const path = join(isAbsolute(said) ? said : join(homedir(), ".config"), "vydra", "credentials.json");
    try {
      return { path, text: readFileSync(path, "utf8") };
    } catch (cause) {
      if (["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")) return undefined;
      throw new ConfigurationError(`The credentials file ${path} cannot be read`, { cause });
    }
  },
  async open(path) {
    const { size } = await stat(path);
    return { name: basename(path), size, stream: Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array> };
  },
  async create(path) {
    // A name of its own, which is never too long where that of the file is not.
    const temporary = join(dirname(path), `.${crypto.randomUUID()}.part`);
    const file = await open(temporary, "wx");
    return {
      async write(chunk) {
        for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten;
      },
      async commit() {
        await file.close();
        await rename(temporary, path);
      },
      async discard() {
        await file.close().catch(() => {});
        await unlink(temporary).catch(() => {});
      },
    };
  },
};

/** A client of a Vydra server. Server and key come from the options, the environment, or the credentials file. */
export class Vydra extends Client {
  constructor(options: VydraOptions = {}) {
    super(options, node);
  }
}

/** Gives the event of a webhook that is the server's and not old; throws {@link WebhookVerificationError} otherwise. Needs no client. */
export function verifyWebhook(body: WebhookBody, headers: WebhookHeaders, secret: string | readonly string[], options: VerifyOptions = {}): Promise<WebhookEvent> {
  return verify(crypto, body, headers, secret, options);
}

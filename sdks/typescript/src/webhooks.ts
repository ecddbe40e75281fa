import { WebhookVerificationError } from "./errors.js";
import type { components } from "./openapi.js";

/** The body as it came, before anything parsed it. */
export type WebhookBody = string | Uint8Array | ArrayBuffer;
/** The headers as Node, a `Headers` object or a plain object has them. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
/** What a webhook tells. Of a type that you do not know, take no notice. */
export interface WebhookEvent {
  type: "job.completed" | "job.failed" | "job.cancelled" | (string & {});
  timestamp: string;
  /** Of `job.*` the job. */
  data: components["schemas"]["JobView"];
}
/** How a webhook is looked at. */
export interface VerifyOptions {
  /** Seconds that it may be old, or ahead: 300. */
  tolerance?: number;
  /** What is the time, in milliseconds. */
  now?: number;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function header(headers: WebhookHeaders, name: string): string | undefined {
  if (typeof (headers as Headers).get === "function") return (headers as Headers).get(name) ?? undefined;
  for (const [key, value] of Object.entries(headers)) if (key.toLowerCase() === name) return typeof value === "string" ? value : value?.[0];
  return undefined;
}

/** @internal */
export async function verify(crypto: Crypto, body: WebhookBody, headers: WebhookHeaders, secret: string | readonly string[], options: VerifyOptions): Promise<WebhookEvent> {
  const keys = (typeof secret === "string" ? [secret] : secret).map((one) => bytesOf(one.replace(/^whsec_/, "")));
  if (keys.length === 0 || keys.some((key) => !key?.length)) throw new WebhookVerificationError("The webhook secret is not complete: it begins with whsec_, and base64 follows");

  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => header(headers, name));
  if (!id || !timestamp || !signatures) throw new WebhookVerificationError("A header of the webhook is missing");
  const age = /^\d+$/.test(timestamp) ? Math.abs((options.now ?? Date.now()) / 1000 - Number(timestamp)) : NaN;
  if (!(age <= (options.tolerance ?? 300))) throw new WebhookVerificationError("The time of the webhook is too far from now");

  const content = typeof body === "string" ? new TextEncoder().encode(body) : new Uint8Array(body);
  const prefix = new TextEncoder().encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(prefix.length + content.length);
  signed.set(prefix);
  signed.set(content, prefix.length);
  const given = signatures.split(" ").flatMap((one) => (one.startsWith("v1,") ? (bytesOf(one.slice(3)) ?? []) : []));
  for (const key of keys as Uint8Array<ArrayBuffer>[]) {
    const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const one of given) {
      if (await crypto.subtle.verify("HMAC", imported, one, signed)) return parse(content);
    }
  }
  throw new WebhookVerificationError("No signature of the webhook fits");
}

function parse(content: Uint8Array): WebhookEvent {
  try {
    return JSON.parse(new TextDecoder().decode(content)) as WebhookEvent;
  } catch (cause) {
    throw new WebhookVerificationError("The body of the webhook is no JSON", { cause });
  }
}

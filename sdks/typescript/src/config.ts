import { ConfigurationError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { VydraOptions } from "./types.js";

function baseOf(text: string): string {
  let url: URL | undefined;
  try {
    url = new URL(text.trim());
  } catch {
    // Told below, without what it was: it may hold a secret.
  }
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new ConfigurationError("baseUrl is no http or https address");
  if (url.username || url.password || url.search || url.hash) throw new ConfigurationError("baseUrl must hold no name, password, query or fragment");
  return url.origin + url.pathname.replace(/\/+$/, "").replace(/\/api\/v1$/, "").replace(/\/+$/, "");
}

function stored(platform: Platform): { baseUrl?: string | undefined; apiKey?: string | undefined } {
  const file = platform.credentials();
  if (file === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(file.text);
  } catch {
    // The parser's message would quote the file, key and all.
  }
  if (typeof value === "object" && value !== null) {
    const { baseUrl, apiKey } = value as Record<string, unknown>;
    if ([baseUrl, apiKey].every((one) => one === undefined || typeof one === "string")) return { baseUrl, apiKey } as { baseUrl?: string; apiKey?: string };
  }
  throw new ConfigurationError(`The credentials file ${file.path} cannot be understood: it is to be {"baseUrl": "https://…", "apiKey": "…"}`);
}

/** Where to send requests, and the key for there: from the options, the environment, the credentials file. @internal */
export function serverAndKey(options: VydraOptions, platform: Platform): { base: string; key: string } {
  const server = options.baseUrl ?? platform.env("VYDRA_BASE_URL");
  const ownKey = options.apiKey ?? platform.env("VYDRA_API_KEY");
  const file = server === undefined || ownKey === undefined ? stored(platform) : {};
  const where = server ?? file.baseUrl;
  if (where === undefined) throw new ConfigurationError("No server: give baseUrl, or set VYDRA_BASE_URL");
  const base = baseOf(where);
  const fits = file.baseUrl !== undefined && baseOf(file.baseUrl) === base;
  const key = (ownKey ?? (fits ? file.apiKey : undefined))?.trim();
  if (!key) throw new ConfigurationError("No key: give apiKey, or set VYDRA_API_KEY");
  // fetch would quote a key that is no header value.
  if (!/^[!-~]+$/.test(key)) throw new ConfigurationError("The key holds a character that no key has");
  return { base, key };
}

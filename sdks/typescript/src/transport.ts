import { ApiError, apiError, ConfigurationError, ConnectionError, DownloadError, TimeoutError, type FriendlyTexts } from "./errors.js";
import type { Platform } from "./platform.js";
import { VERSION } from "./version.js";

/** A request that is about to be sent. `attempt` is 0 the first time. */
export interface RequestInfo {
  method: string;
  url: string;
  attempt: number;
}
/** An answer that came. */
export interface ResponseInfo extends RequestInfo {
  status: number;
  requestId: string | undefined;
  durationMs: number;
}
/** A repetition that is about to be waited for. */
export interface RetryInfo extends RequestInfo {
  waitMs: number;
  error: unknown;
}
/** What is told of each request, for logs and traces. None sees the key or a body; what a hook throws is ignored. */
export interface Hooks {
  /** Before a request is sent. */
  onRequest?(info: RequestInfo): void;
  /** When the head of an answer is here. */
  onResponse?(info: ResponseInfo): void;
  /** Before a repetition is waited for. */
  onRetry?(info: RetryInfo): void;
}
/** Time and chance, for tests. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after so many milliseconds; rejects when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** From 0 up to 1. */
  random(): number;
}

/** @internal */
export interface Settings {
  base: string;
  key: string;
  fetch: typeof globalThis.fetch;
  clock: Clock;
  hooks: Hooks;
  platform: Platform;
  timeout: number;
  silence: number;
  maxRetries: number;
  retryBudget: number;
  maxRetryAfter: number;
  texts: FriendlyTexts | undefined;
}

/** @internal */
export interface Request {
  method: string;
  /** Under /api/v1; or, of a file, the whole address, which is asked for without the key. */
  path: string;
  query?: Readonly<Record<string, unknown>> | undefined;
  headers?: Readonly<Record<string, string | undefined>>;
  json?: unknown;
  body?: BodyInit;
  signal?: AbortSignal | undefined;
  /** Bounded by silence instead of by a time of its own. */
  stream?: boolean;
  /** Milliseconds that the server was asked to hold its answer: they come on top of the time of a request. */
  held?: number;
  /** Silence cannot be told from sending: there is no bound. */
  unbounded?: boolean;
  /** Whether it may be sent twice: GET and DELETE, and what bears an idempotency key. */
  repeat?: boolean;
}

/** @internal */
export const realClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const stop = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", stop);
        resolve();
      }, ms);
      signal?.addEventListener("abort", stop, { once: true });
    }),
};

/** Ends a request with its caller's signal, or when a time has passed without a touch. */
class Watch {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #late = false;

  constructor(ms: number, outer: AbortSignal | undefined) {
    this.#ms = ms;
    this.#outer = outer;
    outer?.throwIfAborted();
    outer?.addEventListener("abort", this.#stop, { once: true });
    this.touch();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #stop = () => this.#controller.abort(this.#outer?.reason);

  touch(): void {
    clearTimeout(this.#timer);
    if (this.#ms === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#late = true;
      this.#controller.abort();
    }, this.#ms);
  }

  /** Lets go of everything; an answer that was not read to its end is broken off. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#stop);
    this.#controller.abort();
  }

  /** What a failure is to the caller. */
  error(cause: unknown, url: string): unknown {
    if (this.#outer?.aborted) return this.#outer.reason;
    const { host } = new URL(url);
    if (this.#late) return new TimeoutError(`${host} did not answer in ${this.#ms / 1000} s`);
    const why = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : "";
    return new ConnectionError(`No whole answer of ${host}${why && `: ${why}`}`, { cause });
  }
}

/** An answer whose body is still to be read. @internal */
export interface Answer {
  response: Response;
  /** The body's chunks; what goes wrong is an error of ours. */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  /** To be called at the end, whatever happened. */
  end(): void;
}

/** Sends requests, repeats those that may be, and makes errors of what is none. @internal */
export class Transport {
  // A private field is shown by no inspection and no JSON.
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  get clock(): Clock {
    return this.#settings.clock;
  }

  get texts(): FriendlyTexts | undefined {
    return this.#settings.texts;
  }

  /** The answer's JSON, repeating what may be repeated. */
  json<T>(request: Request): Promise<T> {
    return this.repeat(request, (attempt) => this.once<T>(request, attempt));
  }

  async repeat<T>(request: Request, once: (attempt: number) => Promise<T>): Promise<T> {
    const { clock, maxRetries, retryBudget } = this.#settings;
    const began = clock.now();
    for (let attempt = 0; ; attempt++) {
      try {
        return await once(attempt);
      } catch (error) {
        const ms = request.repeat && attempt < maxRetries ? this.delay(error, attempt) : undefined;
        if (ms === undefined || clock.now() + ms - began > retryBudget) throw error;
        await this.pause(request, attempt, ms, error);
      }
    }
  }

  /** Milliseconds to wait after this try failed so; undefined if it must not be repeated. */
  delay(error: unknown, attempt: number): number | undefined {
    const { clock, maxRetryAfter } = this.#settings;
    const jitter = () => clock.random() * Math.min(8000, 500 * 2 ** attempt);
    if (error instanceof ConnectionError) return jitter();
    if (!(error instanceof ApiError)) return undefined;
    const { status, details, retryAfter } = error;
    const inFlight = error.code === "IDEMPOTENCY_CONFLICT" && retryAfter !== undefined && attempt > 0;
    if (!inFlight) {
      if (![429, 500, 502, 503, 504].includes(status) || details?.retryable === false) return undefined;
      // A job was made of it: the same key would be answered the same again.
      if (details?.jobId !== undefined || error.refund !== undefined || error.replayed) return undefined;
    }
    if (retryAfter === undefined) return jitter();
    return retryAfter * 1000 > maxRetryAfter ? undefined : retryAfter * 1000;
  }

  /** Tells of a repetition, and waits for it. */
  async pause(request: Request, attempt: number, ms: number, error: unknown): Promise<void> {
    this.#tell("onRetry", { method: request.method, url: this.#url(request), attempt, waitMs: ms, error });
    await this.clock.sleep(ms, request.signal);
    request.signal?.throwIfAborted();
  }

  /** One try. */
  async once<T>(request: Request, attempt: number): Promise<T> {
    const { response, text } = await this.#text(request, attempt);
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new ConnectionError(`The answer of ${new URL(this.#url(request)).host} (${response.status}) is no JSON`, { cause });
    }
  }

  async #text(request: Request, attempt: number): Promise<{ response: Response; text: string }> {
    const answer = await this.open(request, attempt);
    try {
      return { response: answer.response, text: await textOf(answer) };
    } finally {
      answer.end();
    }
  }

  /** One try, up to the beginning of a good answer's body. */
  async open(request: Request, attempt: number): Promise<Answer> {
    const { fetch, clock, timeout, silence, key, platform } = this.#settings;
    const url = this.#url(request);
    const file = isAddress(request.path);
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers ?? {})) if (value !== undefined) headers.set(name, value);
    if (platform.namesItself) headers.set("user-agent", `vydra-typescript/${VERSION}`);
    if (!file) {
      if (!headers.has("accept")) headers.set("accept", "application/json");
      headers.set("authorization", `Bearer ${key}`);
    }
    if (request.json !== undefined) headers.set("content-type", "application/json");
    const body = request.json !== undefined ? JSON.stringify(request.json) : request.body;
    const watch = new Watch(request.unbounded ? Infinity : request.stream ? silence : timeout + (request.held ?? 0), request.signal);
    const info = { method: request.method, url, attempt };
    const began = clock.now();
    this.#tell("onRequest", info);
    let response: Response;
    try {
      response = await fetch(url, {
        method: request.method,
        headers,
        signal: watch.signal,
        redirect: file ? "follow" : "manual",
        ...(body !== undefined && { body: body instanceof ReadableStream ? touched(body, watch) : body }),
        ...(body instanceof ReadableStream && { duplex: "half" }),
      });
    } catch (cause) {
      watch.end();
      throw watch.error(cause, url);
    }
    watch.touch();
    const requestId = response.headers.get("x-request-id") ?? undefined;
    this.#tell("onResponse", { ...info, status: response.status, requestId, durationMs: clock.now() - began });
    const answer: Answer = { response, chunks: () => chunks(response, watch, url, request.stream === true), end: () => watch.end() };
    if (response.ok) return answer;
    try {
      throw await this.#error(answer, requestId);
    } finally {
      watch.end();
    }
  }

  async #error(answer: Answer, requestId: string | undefined): Promise<ApiError> {
    const { status, headers, type } = answer.response;
    const { texts, clock } = this.#settings;
    if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
      const body = { error: "The server answered with a redirect, which is not followed: give the address that it leads to as baseUrl", code: "UNEXPECTED_REDIRECT" };
      return apiError({ status, body, requestId, texts });
    }
    const text = await textOf(answer);
    let body: unknown = text;
    try {
      body = JSON.parse(text);
    } catch {
      // A proxy's page: it stays as it came.
    }
    const retryAfter = secondsOf(headers.get("retry-after"), clock.now());
    return apiError({ status, body, requestId, retryAfter, texts, replayed: headers.get("idempotent-replayed") === "true" });
  }

  #url(request: Request): string {
    if (isAddress(request.path)) return request.path;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined && value !== null) query.append(name, String(value));
    const text = query.toString();
    return `${this.#settings.base}/api/v1${request.path}${text && `?${text}`}`;
  }

  #tell<K extends keyof Hooks>(hook: K, info: Parameters<NonNullable<Hooks[K]>>[0]): void {
    try {
      (this.#settings.hooks[hook] as ((info: unknown) => void) | undefined)?.(info);
    } catch {
      // What only watches must not break a call that may have been paid for.
    }
  }
}

const isAddress = (path: string) => !path.startsWith("/");

/** The address of a file, which only http and https lead to. @internal */
export function fileAddress(url: string): string {
  let parsed: URL | undefined;
  try {
    parsed = new URL(url);
  } catch {
    // Told below.
  }
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) throw new DownloadError("What is to be downloaded is no http address");
  return parsed.href;
}

/** A segment of a path, which must not lead to another. @internal */
export function segment(text: string): string {
  if (text === "" || text === "." || text === "..") throw new ConfigurationError(`"${text}" names nothing`);
  return encodeURIComponent(text);
}

async function* chunks(response: Response, watch: Watch, url: string, touch: boolean): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader();
  for (;;) {
    let next;
    try {
      next = await reader?.read();
    } catch (cause) {
      throw watch.error(cause, url);
    }
    if (next === undefined || next.done) return;
    if (touch) watch.touch();
    yield next.value;
  }
}

async function textOf(answer: Answer): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of answer.chunks()) text += decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

function touched(body: ReadableStream<Uint8Array>, watch: Watch): ReadableStream<Uint8Array> {
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      watch.touch();
      controller.enqueue(chunk);
    },
  });
  return body.pipeThrough(count);
}

/** Retry-After in seconds: a number, or an HTTP date in one of its three forms. */
function secondsOf(value: string | null, now: number): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text);
  // Only what is a date by its form: Date.parse makes something of nearly everything.
  const asctime = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/.test(text);
  if (!asctime && !/^[A-Z][a-z]{2,8}, .* GMT$/.test(text)) return undefined;
  const at = Date.parse(asctime ? `${text} GMT` : text);
  return Number.isNaN(at) ? undefined : Math.max(0, (at - now) / 1000);
}

import { ConfigurationError, ConnectionError, DownloadError, JobCancelledError, jobError, TimeoutError, WaitTimeoutError, ApiError, type FriendlyTexts } from "./errors.js";
import { List, type Page } from "./list.js";
import type { components } from "./openapi.js";
import type { Platform } from "./platform.js";
import { serverEvents } from "./sse.js";
import { fileAddress, realClock, segment, Transport, type Answer, type Clock, type Hooks, type Request } from "./transport.js";
import { verify, type VerifyOptions, type WebhookBody, type WebhookEvent, type WebhookHeaders } from "./webhooks.js";

type Schemas = components["schemas"];
type Inputs<Table, Name extends string> = Name extends keyof Table ? Table[Name] : Readonly<Record<string, unknown>>;

/** Where the server is, as whom to speak to it, and how patiently. All times are in milliseconds. */
export interface VydraOptions {
  /** The server. Else `VYDRA_BASE_URL`, else that of the credentials file. */
  baseUrl?: string | undefined;
  /** The key. Else `VYDRA_API_KEY`, else that of the credentials file if it is for this server. */
  apiKey?: string | undefined;
  /** From the beginning of a request to the last byte of its answer: 90,000. */
  timeout?: number | undefined;
  /** How long an upload, a download or a stream may be without a byte: 60,000. */
  silence?: number | undefined;
  /** How often a request is repeated at most: 4. */
  maxRetries?: number | undefined;
  /** A repetition begins no later than this after its call: 120,000. */
  retryBudget?: number | undefined;
  /** Longer than this no `Retry-After` is waited for: 60,000. */
  maxRetryAfter?: number | undefined;
  /** Texts of one's own for the codes of errors. */
  friendly?: FriendlyTexts | undefined;
  /** What is told of each request. */
  hooks?: Hooks | undefined;
  /** What sends requests, in place of the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Time and chance, for tests. */
  clock?: Clock | undefined;
}

/** What every call takes. */
export interface CallOptions {
  /** Breaks the call off. */
  signal?: AbortSignal | undefined;
}
/** What every call that buys takes. */
export interface BuyOptions extends CallOptions {
  /** The same key and input buy once, for 24 hours. A random one when it is not given. */
  idempotencyKey?: string | undefined;
  /** Refuses, with 402, to cost more than this. */
  maxCredits?: number | undefined;
  /** Where the end of the job is told. */
  webhookUrl?: string | undefined;
  /** Only the first provider of the model is asked. */
  noFallback?: boolean | undefined;
  /** Test keys only: makes an outcome happen, such as `GENERATION_FAILED` or `SLOW=5s`. */
  simulate?: string | undefined;
}
/** How a job is waited for. */
export interface WaitOptions extends CallOptions {
  /** How long at most, in milliseconds: 31 minutes. */
  timeout?: number | undefined;
  /** Cancels the job on the server when the signal breaks the wait off. */
  cancelOnAbort?: boolean | undefined;
}
/** How a model is called. */
export interface RunOptions extends BuyOptions {
  /** Answers at once, whatever the model. */
  respondAsync?: boolean | undefined;
}
/** How something is bought and waited for. */
export interface GenerateOptions extends BuyOptions, WaitOptions {}
/** Which page of a list, and how many items it has. */
export interface ListOptions extends CallOptions {
  /** Behind this one: a page's `nextCursor`. */
  after?: string | undefined;
  /** How many a page, 1 to 100. */
  limit?: number | undefined;
  /** How many to pass over, before the first page. */
  offset?: number | undefined;
}
/** How a file is sent. */
export interface UploadOptions extends CallOptions {
  /** Its name; of a path its last part. */
  filename?: string | undefined;
  /** What it is to be: an image when it is not said. */
  type?: "image" | "video" | "audio" | undefined;
}
/** How a file is fetched. */
export interface DownloadOptions extends CallOptions {
  /** Told after each piece; `total` where the server says it. */
  onProgress?: ((received: number, total: number | undefined) => void) | undefined;
}

/** A job, with the addresses of its results once it is completed. */
export type Job = Schemas["JobView"] & {
  /** Of the first result. */
  url?: string;
  /** Of all results. */
  urls: string[];
};
/** A job that is completed. Where its files were deleted since, `urls` is empty and `url` is "". */
export type CompletedJob = Job & { status: "completed"; url: string };
/** A job, or its id. */
export type JobRef = string | { readonly id: string } | { readonly jobId: string };
/** A job that was just made. */
export type CreatedJob = Schemas["CreatedJob"];
/** How a job stands. */
export interface JobEvent {
  event: "status" | "progress" | "end";
  status: string;
  /** 0 to 100. */
  progress: number;
  statusMessage: string | null;
  /** With `end`, the job. */
  job: Job | undefined;
}
/** What a call of a model gives: the result, or that it is on its way. */
export type RunResult = Schemas["Completed"] | Schemas["Accepted"];
/** What to send: a path (not in browsers), bytes, or a stream of bytes. */
export type UploadSource = string | Blob | Uint8Array | ArrayBuffer | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;
/** A model or a workflow, with its input, to be priced. */
export type Quotable = { model: string; workflow?: undefined; input: Readonly<Record<string, unknown>> } | { workflow: string; model?: undefined; input: Readonly<Record<string, unknown>> };

const WAIT = 31 * 60_000;
const FINAL = ["completed", "failed", "cancelled"];

const idOf = (job: JobRef): string => (typeof job === "string" ? job : "id" in job ? job.id : job.jobId);

function jobOf(view: Schemas["JobView"]): Job {
  const urls = view.resultUrls ?? (view.output ? [view.output.url] : []);
  return { ...view, ...(urls[0] !== undefined && { url: urls[0] }), urls };
}

function viewOf(data: string): Schemas["JobView"] {
  try {
    return JSON.parse(data) as Schemas["JobView"];
  } catch (cause) {
    throw new ConnectionError("An event of the stream is broken", { cause });
  }
}

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

function serverAndKey(options: VydraOptions, platform: Platform): { base: string; key: string } {
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

function uuid(crypto: Crypto): string {
  // randomUUID is missing from pages that are not served over https.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** What {@link Vydra} is everywhere; what Node has and a browser has not is given to it. */
export abstract class Client {
  readonly #transport: Transport;
  readonly #platform: Platform;

  /** @internal */
  constructor(options: VydraOptions, platform: Platform) {
    this.#platform = platform;
    this.#transport = new Transport({
      ...serverAndKey(options, platform),
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      clock: options.clock ?? realClock,
      hooks: options.hooks ?? {},
      platform,
      timeout: options.timeout ?? 90_000,
      silence: options.silence ?? 60_000,
      maxRetries: options.maxRetries ?? 4,
      retryBudget: options.retryBudget ?? 120_000,
      maxRetryAfter: options.maxRetryAfter ?? 60_000,
      texts: options.friendly,
    });
  }

  /** Buys, waits, and gives the job with the addresses of its results. */
  readonly generate = {
    /** Makes an image from a text. */
    image: (input: Schemas["WorkflowInputs"]["generate_image"], options: GenerateOptions = {}): Promise<CompletedJob> =>
      this.#bought(options, (buy) => this.jobs.create("generate_image", input, buy)),
    /** Makes a video from a text, or from an image and a text. */
    video: (input: Schemas["WorkflowInputs"]["generate_video"], options: GenerateOptions = {}): Promise<CompletedJob> =>
      this.#bought(options, (buy) => this.jobs.create("generate_video", input, buy)),
    /** Says a text. */
    speech: (input: Schemas["ModelInputs"]["elevenlabs/tts"], options: GenerateOptions = {}): Promise<CompletedJob> =>
      this.#bought(options, (buy) => this.models.run("elevenlabs/tts", input, { ...buy, respondAsync: true })),
  };

  /** Jobs: every generation is one. */
  readonly jobs = {
    /** Buys a job of a workflow, and does not wait for it. */
    create: <W extends keyof Schemas["WorkflowInputs"] | (string & {})>(workflow: W, input: Inputs<Schemas["WorkflowInputs"], W>, options: BuyOptions = {}): Promise<CreatedJob> =>
      this.#buy("/jobs", { workflow, input }, options),
    /** A job as it stands. */
    get: async (job: JobRef, options: CallOptions = {}): Promise<Job> => jobOf(await this.#get(`/jobs/${segment(idOf(job))}`, undefined, options)),
    /** The jobs of the key's organization, the latest first. */
    list: (options: ListOptions & { status?: string | undefined; workflow?: string | undefined } = {}): List<Job> => this.#list<Schemas["JobView"], Job>("/jobs", options, jobOf),
    /** Ends a job and pays it back. One that has ended otherwise is a `JobNotCancellableError`. */
    cancel: async (job: JobRef, options: CallOptions = {}): Promise<Job> => jobOf(await this.#delete(`/jobs/${segment(idOf(job))}`, options)),
    /** Why a job cost what it cost. */
    charges: (job: JobRef, options: CallOptions = {}): Promise<Schemas["ChargesView"]> => this.#get(`/jobs/${segment(idOf(job))}/charges`, undefined, options),
  };

  /** Models. */
  readonly models = {
    /** All models, with what they take and cost. */
    list: (options: CallOptions & { provider?: string | undefined; isActive?: boolean | undefined } = {}): Promise<Schemas["ModelList"]> => this.#query("/models", options),
    /** One model. */
    get: (slug: string, options: CallOptions = {}): Promise<Schemas["ModelView"]> => this.#get(`/models/${segment(slug)}`, undefined, options),
    /** Calls a model at its path, such as `gemini/generate`. */
    run: <P extends keyof Schemas["ModelInputs"] | (string & {})>(path: P, input: Inputs<Schemas["ModelInputs"], P>, options: RunOptions = {}): Promise<RunResult> =>
      this.#buy(`/models/${path.split("/").map(segment).join("/")}`, input as Record<string, unknown>, options, options.respondAsync ? "respond-async" : undefined),
  };

  /** API keys. New ones are made in the dashboard. */
  readonly keys = {
    /** All keys, without what is secret of them. */
    list: (options: CallOptions = {}): Promise<Schemas["KeyList"]> => this.#get("/api-keys", undefined, options),
    /** One key. */
    get: (id: string, options: CallOptions = {}): Promise<Schemas["KeyView"]> => this.#get(`/api-keys/${segment(id)}`, undefined, options),
    /** Revokes a key from now on. */
    revoke: (id: string, options: CallOptions = {}): Promise<Schemas["KeyView"]> => this.#delete(`/api-keys/${segment(id)}`, options),
  };

  /** Files that are kept: results, and what was sent in. */
  readonly assets = {
    /** All files, the latest first. */
    list: (options: ListOptions & { workflow?: string | undefined } = {}): List<Schemas["StoredAssetView"]> => this.#list("/assets", options, (asset: Schemas["StoredAssetView"]) => asset),
    /** One file. */
    get: (id: string, options: CallOptions = {}): Promise<Schemas["StoredAssetView"]> => this.#get(`/assets/${segment(id)}`, undefined, options),
    /** Deletes a file. */
    delete: (id: string, options: CallOptions = {}): Promise<Schemas["DeletedAssetView"]> => this.#delete(`/assets/${segment(id)}`, options),
  };

  /** Webhooks. */
  readonly webhooks = {
    /** Gives the event of a webhook that is the server's and not old; throws `WebhookVerificationError` otherwise. */
    verify: (body: WebhookBody, headers: WebhookHeaders, secret: string | readonly string[], options: VerifyOptions = {}): Promise<WebhookEvent> =>
      verify(this.#platform.crypto, body, headers, secret, { now: this.#transport.clock.now(), ...options }),
    /** Has a test sent to an endpoint, or to all. */
    test: (endpointId?: string, options: CallOptions = {}): Promise<Schemas["SentTests"]> => this.#send("POST", "/webhooks/test", endpointId === undefined ? {} : { endpointId }, options),
    /** Where the ends of all jobs are told. */
    endpoints: {
      /** All endpoints. */
      list: (options: CallOptions = {}): Promise<Schemas["EndpointList"]> => this.#get("/webhooks/endpoints", undefined, options),
      /** One endpoint. */
      get: (id: string, options: CallOptions = {}): Promise<Schemas["EndpointView"]> => this.#get(`/webhooks/endpoints/${segment(id)}`, undefined, options),
      /** Adds an endpoint. */
      create: (endpoint: Schemas["NewEndpointBody"], options: CallOptions = {}): Promise<Schemas["EndpointView"]> => this.#send("POST", "/webhooks/endpoints", endpoint, options),
      /** Changes an endpoint, or switches it on or off. */
      update: (id: string, changes: Schemas["EndpointChangesBody"], options: CallOptions = {}): Promise<Schemas["EndpointView"]> => this.#send("PATCH", `/webhooks/endpoints/${segment(id)}`, changes, options),
      /** Deletes an endpoint. */
      delete: (id: string, options: CallOptions = {}): Promise<Schemas["DeletedEndpoint"]> => this.#delete(`/webhooks/endpoints/${segment(id)}`, options),
    },
    /** What was sent in the last 30 days. */
    deliveries: {
      /** All deliveries, the latest first. */
      list: (options: ListOptions & { status?: string | undefined; endpointId?: string | undefined } = {}): List<Schemas["DeliveryView"]> =>
        this.#list("/webhooks/deliveries", options, (delivery: Schemas["DeliveryView"]) => delivery),
      /** One delivery, with its attempts. */
      get: (id: string, options: CallOptions = {}): Promise<Schemas["DeliveryView"]> => this.#get(`/webhooks/deliveries/${segment(id)}`, undefined, options),
      /** Sends one again. */
      resend: (id: string, options: CallOptions = {}): Promise<Schemas["DeliveryView"]> => this.#send("POST", `/webhooks/deliveries/${segment(id)}/resend`, undefined, options),
    },
    /** What webhooks are signed with. */
    secret: {
      /** The secret. */
      get: (options: CallOptions = {}): Promise<Schemas["SecretView"]> => this.#get("/webhooks/secret", undefined, options),
      /** Replaces it; for so many hours both are good. */
      rotate: (overlapHours?: number, options: CallOptions = {}): Promise<Schemas["SecretView"]> => this.#send("POST", "/webhooks/secret/rotate", overlapHours === undefined ? {} : { overlapHours }, options),
    },
  };

  /** What a call would cost. Nothing is charged. */
  quote(call: Quotable, options: CallOptions = {}): Promise<Schemas["QuoteView"]> {
    return this.#send("POST", "/quotes", call, options);
  }

  /** The balance, and what was used and paid back. */
  credits(options: CallOptions = {}): Promise<Schemas["CreditsView"]> {
    return this.#get("/billing/credits", undefined, options);
  }

  /** What was used, by day, model or key. */
  usage(options: CallOptions & { from?: string | undefined; to?: string | undefined; by?: "day" | "model" | "key" | undefined } = {}): Promise<Schemas["UsageView"]> {
    return this.#query("/usage", options);
  }

  /** The ledger, the latest first. */
  transactions(options: ListOptions & { type?: string | undefined; jobId?: string | undefined } = {}): List<Schemas["TransactionView"]> {
    return this.#list("/billing/transactions", options, (row: Schemas["TransactionView"]) => row);
  }

  /** The key's organization. */
  organization(options: CallOptions = {}): Promise<Schemas["OrganizationView"]> {
    return this.#get("/organization", undefined, options);
  }

  /** The plan's limits, and how far they are used. */
  rateLimits(options: CallOptions = {}): Promise<Schemas["RateLimitsView"]> {
    return this.#get("/account/rate-limits", undefined, options);
  }

  /** The ends of jobs in their order, behind `after`; `wait` holds the answer for so many seconds until there is one. */
  events({ signal, ...query }: Omit<ListOptions, "offset"> & { wait?: number | undefined } = {}): Promise<Schemas["EventList"]> {
    return this.#transport.json({ method: "GET", path: "/events", query, signal, held: (query.wait ?? 0) * 1000, repeat: true });
  }

  /** Gives the job once it is completed. One that failed is thrown as the error of its code, with `job`. */
  async wait(job: JobRef, options: WaitOptions = {}): Promise<CompletedJob> {
    const id = idOf(job);
    try {
      return await this.#ended(id, options);
    } catch (error) {
      if (options.cancelOnAbort && options.signal?.aborted) this.#cancelLater(id);
      throw error;
    }
  }

  /** How a job stands, whenever that changes; `end` is the last. A stream that breaks is taken up where it was. */
  async *stream(job: JobRef, options: Omit<WaitOptions, "cancelOnAbort"> = {}): AsyncGenerator<JobEvent, void, undefined> {
    const id = idOf(job);
    const { clock } = this.#transport;
    const { signal } = options;
    const end = clock.now() + (options.timeout ?? WAIT);
    let lastId: string | undefined;
    let breaks = 0;
    for (let pause = 1000; ; pause = Math.min(pause * 1.5, 10_000)) {
      const headers = { accept: "text/event-stream", "last-event-id": lastId };
      const request: Request = { method: "GET", path: `/jobs/${segment(id)}/events`, headers, signal, stream: true };
      let answer: Answer | undefined;
      let ms = pause;
      let failure: unknown = new ConnectionError("The stream broke off");
      try {
        answer = await this.#transport.open(request, breaks);
        if (answer.response.status === 204) return;
        for await (const { event, id, data } of serverEvents(answer.chunks())) {
          if (!["status", "progress", "end"].includes(event)) continue;
          const view = viewOf(data);
          lastId = id;
          pause = ms = 1000;
          yield { event: event as JobEvent["event"], status: view.status, progress: view.progress, statusMessage: view.statusMessage ?? null, job: event === "end" ? jobOf(view) : undefined };
          if (event === "end") return;
        }
      } catch (error) {
        const told = this.#transport.delay(error, breaks);
        if (told === undefined) throw error;
        if (error instanceof ApiError && error.retryAfter !== undefined) ms = told;
        failure = error;
      } finally {
        answer?.end();
      }
      if (clock.now() + ms >= end) throw new WaitTimeoutError(`The job ${id} has not ended in time`, id);
      await this.#transport.pause(request, breaks++, ms, failure);
    }
  }

  /** Sends a file in. It is not sent again when that fails: call again. */
  async upload(file: UploadSource, options: UploadOptions = {}): Promise<Schemas["UploadView"]> {
    const { crypto, streams } = this.#platform;
    const source = typeof file === "string" ? await this.#platform.open(file) : undefined;
    const name = options.filename ?? source?.name ?? (file instanceof Blob && "name" in file ? String(file.name) : "file");
    const boundary = `vydra-${uuid(crypto)}`;
    const quoted = name.replace(/["\r\n]/g, encodeURIComponent);
    const head = new TextEncoder().encode(`--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${quoted}"\r\ncontent-type: application/octet-stream\r\n\r\n`);
    const tail = new TextEncoder().encode(`\r\n--${boundary}--\r\n`);
    const content = source?.stream ?? (file instanceof Uint8Array || file instanceof ArrayBuffer ? new Blob([file as Uint8Array<ArrayBuffer>]) : (file as Blob | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>));
    const body = streams ? streamOf(around(head, content, tail)) : new Blob([head, content instanceof Blob ? content : await blobOf(content), tail]);
    const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
    const request: Request = { method: "POST", path: "/upload", query: { type: options.type }, headers, body, signal: options.signal, stream: true, unbounded: !streams };
    return this.#transport.json(request);
  }

  /** Saves a file, without the key, under a temporary name until it is whole. Not in browsers: there use {@link bytes}. */
  async download(url: string, to: string, options: DownloadOptions = {}): Promise<{ size: number; type: string }> {
    return this.#fetched(url, options, async (answer) => {
      const target = await this.#platform.create(to);
      try {
        const done = await medium(answer, options.onProgress, (chunk) => target.write(chunk));
        await target.commit();
        return done;
      } catch (error) {
        await target.discard();
        throw error;
      }
    });
  }

  /** A file's bytes, fetched without the key. */
  async bytes(url: string, options: DownloadOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return this.#fetched(url, options, async (answer) => {
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      await medium(answer, options.onProgress, (chunk) => chunks.push(chunk as Uint8Array<ArrayBuffer>));
      return new Uint8Array(await new Blob(chunks).arrayBuffer());
    });
  }

  async #fetched<T>(url: string, options: DownloadOptions, read: (answer: Answer) => Promise<T>): Promise<T> {
    const request: Request = { method: "GET", path: fileAddress(url), signal: options.signal, stream: true, repeat: true };
    let begun = false;
    try {
      return await this.#transport.repeat(request, async (attempt) => {
        begun = false;
        const answer = await this.#transport.open(request, attempt);
        begun = true;
        try {
          return await read(answer);
        } finally {
          answer.end();
        }
      });
    } catch (error) {
      if (begun && error instanceof ConnectionError && !(error instanceof TimeoutError)) throw new DownloadError("The file broke off", { cause: error });
      throw error;
    }
  }

  async #ended(id: string, { signal, timeout = WAIT }: WaitOptions): Promise<CompletedJob> {
    const transport = this.#transport;
    const { clock } = transport;
    const end = clock.now() + timeout;
    const late = () => new WaitTimeoutError(`The job ${id} has not ended in ${timeout / 1000} s. It goes on.`, id);
    const path = `/jobs/${segment(id)}`;
    let failures = 0;
    for (let pause = 1000; ; ) {
      const began = clock.now();
      const wait = Math.max(0, Math.min(25, Math.ceil((end - began) / 1000)));
      const request: Request = { method: "GET", path, query: { wait }, signal, held: wait * 1000 };
      let view: Schemas["JobView"];
      try {
        view = await transport.once(request, failures);
        failures = 0;
      } catch (error) {
        const ms = transport.delay(error, failures);
        if (ms === undefined) throw error;
        if (clock.now() + ms >= end) throw late();
        await transport.pause(request, failures++, ms, error);
        continue;
      }
      if (FINAL.includes(view.status)) return completed(view, transport.texts);
      const left = end - clock.now();
      if (left <= 0) throw late();
      if (clock.now() - began < 1000) {
        await clock.sleep(Math.min(pause, left), signal);
        pause = Math.min(pause * 1.5, 10_000);
      }
    }
  }

  async #bought(options: GenerateOptions, buy: (options: BuyOptions) => Promise<JobRef>): Promise<CompletedJob> {
    const { signal, cancelOnAbort } = options;
    if (!cancelOnAbort || signal === undefined) return this.wait(await buy(options), options);
    // The answer says which job to cancel: it is waited for even when nobody else does any more.
    signal.throwIfAborted();
    const made = buy({ ...options, signal: undefined });
    let stop = () => {};
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason);
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await this.wait(await Promise.race([made, aborted]), { ...options, cancelOnAbort: false });
    } catch (error) {
      if (signal.aborted) made.then((job) => this.#cancelLater(idOf(job)), () => {});
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #cancelLater(id: string): void {
    this.jobs.cancel(id).catch(() => {
      // It has ended meanwhile, or is paid back at the latest after its 30 minutes.
    });
  }

  #buy<T>(path: string, body: Readonly<Record<string, unknown>>, options: BuyOptions, prefer?: string): Promise<T> {
    const { idempotencyKey = uuid(this.#platform.crypto), maxCredits, noFallback, simulate, webhookUrl, signal } = options;
    const headers = {
      "idempotency-key": idempotencyKey,
      "x-max-credits": maxCredits?.toString(),
      "x-vydra-no-fallback": noFallback ? "true" : undefined,
      "x-vydra-simulate": simulate,
      prefer,
    };
    return this.#transport.json({ method: "POST", path, headers, json: { ...body, ...(webhookUrl !== undefined && { webhookUrl }) }, signal, repeat: true });
  }

  #get<T>(path: string, query: Request["query"], { signal }: CallOptions): Promise<T> {
    return this.#transport.json({ method: "GET", path, query, signal, repeat: true });
  }

  #query<T>(path: string, { signal, ...query }: CallOptions): Promise<T> {
    return this.#get(path, query, { signal });
  }

  #delete<T>(path: string, { signal }: CallOptions): Promise<T> {
    return this.#transport.json({ method: "DELETE", path, signal, repeat: true });
  }

  #send<T>(method: string, path: string, json: unknown, { signal }: CallOptions): Promise<T> {
    return this.#transport.json({ method, path, json, signal });
  }

  #list<V, T>(path: string, { after, signal, ...query }: ListOptions, item: (view: V) => T): List<T> {
    return new List<T>(async (cursor) => {
      // A cursor says where to go on; what is passed over is passed over once.
      const asked = { ...query, after: cursor, ...(cursor !== after && { offset: undefined }) };
      const { data, pagination } = await this.#get<{ data: V[]; pagination: Page<T>["pagination"] }>(path, asked, { signal });
      return { data: data.map(item), pagination };
    }, after);
  }
}

function completed(view: Schemas["JobView"], texts: FriendlyTexts | undefined): CompletedJob {
  const job = jobOf(view);
  if (view.status === "cancelled") throw new JobCancelledError(job);
  if (view.status === "failed") throw jobError(job, texts);
  return { ...job, status: "completed", url: job.url ?? "" };
}

/** Takes a file chunk by chunk, and refuses what is none. */
async function medium(answer: Answer, onProgress: DownloadOptions["onProgress"], take: (chunk: Uint8Array) => unknown): Promise<{ size: number; type: string }> {
  const { headers } = answer.response;
  const type = headers.get("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (/^text\/|[/+]json$|\/xhtml/.test(type)) throw new DownloadError(`What came is no medium, but ${type}`);
  // The length of what is compressed is not that of what arrives.
  const promised = headers.has("content-encoding") ? undefined : headers.get("content-length");
  const total = promised == null ? undefined : Number(promised);
  let size = 0;
  for await (const chunk of answer.chunks()) {
    if (size === 0 && /^\s*[{[<]/.test(new TextDecoder("latin1").decode(chunk.subarray(0, 64)))) throw new DownloadError("What came is no medium, but a text");
    size += chunk.length;
    await take(chunk);
    onProgress?.(size, total);
  }
  if (size === 0) throw new DownloadError("What came is empty");
  if (total !== undefined && size < total) throw new DownloadError(`Only ${size} of ${total} bytes came`);
  return { size, type };
}

async function* piecesOf(content: Blob | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const stream = content instanceof Blob ? content.stream() : content;
  if (!(stream instanceof ReadableStream)) return yield* stream;
  // Not every browser can iterate a stream.
  const reader = stream.getReader();
  try {
    for (let next; !(next = await reader.read()).done; ) yield next.value as Uint8Array;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function* around(head: Uint8Array, content: Parameters<typeof piecesOf>[0], tail: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield head;
  yield* piecesOf(content);
  yield tail;
}

function streamOf(pieces: AsyncGenerator<Uint8Array, void, undefined>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return();
    },
  });
}

async function blobOf(content: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of piecesOf(content)) pieces.push(piece as Uint8Array<ArrayBuffer>);
  return new Blob(pieces);
}

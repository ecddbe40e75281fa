import { serverAndKey } from "./config.js";
import { ApiError, ConnectionError, DownloadError, JobCancelledError, jobError, TimeoutError, WaitTimeoutError, type FriendlyTexts } from "./errors.js";
import { form, medium } from "./files.js";
import { List, type Page } from "./list.js";
import type { components } from "./openapi.js";
import type { Platform } from "./platform.js";
import { serverEvents } from "./sse.js";
import { fileAddress, realClock, segment, Transport, type Answer, type Request } from "./transport.js";
import type { BuyOptions, CallOptions, CompletedJob, CreatedJob, DownloadOptions, GenerateOptions, Job, JobEvent, JobRef, ListOptions, Quotable, RunOptions, RunResult, UploadOptions, UploadSource, VydraOptions, WaitOptions } from "./types.js";
import { verify, type VerifyOptions, type WebhookBody, type WebhookEvent, type WebhookHeaders } from "./webhooks.js";

type Schemas = components["schemas"];
type Inputs<Table, Name extends string> = Name extends keyof Table ? Table[Name] : Readonly<Record<string, unknown>>;

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
    const { type, body } = await form(`vydra-${uuid(crypto)}`, name, source?.stream ?? (file as Exclude<UploadSource, string>), streams);
    const headers = { "content-type": type };
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

import type { FriendlyTexts } from "./errors.js";
import type { components } from "./openapi.js";
import type { Clock, Hooks } from "./transport.js";

type Schemas = components["schemas"];

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

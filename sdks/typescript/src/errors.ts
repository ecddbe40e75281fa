import { CATALOGUE } from "./catalogue.js";
import type { components } from "./openapi.js";

/** A code of the server's catalogue. */
export type ErrorCode = keyof typeof CATALOGUE;
/** Texts of one's own for codes, in place of the catalogue's. */
export type FriendlyTexts = Readonly<Record<string, string>>;
/** Which limit was passed: of a minute, an hour, a day, or of jobs at a time. */
export type ExceededLimit = components["schemas"]["ExceededLimit"];
/** What was paid back. */
export type Refund = components["schemas"]["Refund"];

const entry = (code: string | undefined) => (code !== undefined && Object.hasOwn(CATALOGUE, code) ? CATALOGUE[code as ErrorCode] : undefined);

/** Whatever this library throws; only a signal's own reason comes as it is. */
export class VydraError extends Error {
  override name = "VydraError";
  /** A sentence for the person in front of the program. */
  friendly(): string {
    return "Something went wrong on our side. Please try again later.";
  }
}

/** No server, no key, or something that cannot be understood was given. */
export class ConfigurationError extends VydraError {
  override name = "ConfigurationError";
  override friendly(): string {
    return "This program is not set up correctly.";
  }
}

/** No answer: the name, the connection, TLS, or a broken body. `cause` says more. */
export class ConnectionError extends VydraError {
  override name = "ConnectionError";
  override friendly(): string {
    return "We couldn't reach the service. Please check your connection and try again.";
  }
}

/** The time of a request, or the bound on silence, is over. */
export class TimeoutError extends ConnectionError {
  override name = "TimeoutError";
  override friendly(): string {
    return "The service took too long to answer. Please try again.";
  }
}

/** The job has not ended in the time that was given. It goes on. */
export class WaitTimeoutError extends VydraError {
  override name = "WaitTimeoutError";
  constructor(
    message: string,
    /** The job that was waited for. */
    readonly jobId: string,
  ) {
    super(message);
  }
  override friendly(): string {
    return "This takes longer than usual. It goes on in the background; please look again later.";
  }
}

/** The job that was waited for was cancelled. */
export class JobCancelledError extends VydraError {
  override name = "JobCancelledError";
  constructor(
    /** The job as it ended. */
    readonly job: components["schemas"]["JobView"],
  ) {
    super(`The job ${job.id} was cancelled`);
  }
  override friendly(): string {
    return "This was cancelled, and you got your credits back.";
  }
}

/** A webhook that is not the server's, or too old. */
export class WebhookVerificationError extends VydraError {
  override name = "WebhookVerificationError";
  override friendly(): string {
    return "This message can't be trusted, and was left alone.";
  }
}

/** What was downloaded is no medium: JSON, HTML, nothing, or less than was promised. */
export class DownloadError extends VydraError {
  override name = "DownloadError";
  override friendly(): string {
    return "The file couldn't be downloaded. Please try again.";
  }
}

/** What an {@link ApiError} is made of. */
export interface ApiErrorFields {
  /** The status of the answer; of a failed job that of its code. */
  status: number;
  /** The body as it came: what JSON said, or the text. */
  body?: unknown;
  /** The header `x-request-id`. */
  requestId?: string | undefined;
  /** The header `retry-after`, in seconds. */
  retryAfter?: number | undefined;
  /** The job that failed. */
  job?: components["schemas"]["JobView"];
  /** Whether the answer is that of an earlier request with the same idempotency key. */
  replayed?: boolean;
  /** Texts of one's own. */
  texts?: FriendlyTexts | undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const numberOf = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
const stringOf = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);

/** The server's answer is an error, or the job that was waited for has failed. */
export class ApiError extends VydraError {
  override name = "ApiError";
  /** The status of the answer; of a failed job that of its code. */
  readonly status: number;
  /** The stable word for programs; none when the answer was not the server's own. */
  readonly code: ErrorCode | (string & {}) | undefined;
  /** More about the error; what it holds depends on the code. */
  readonly details: Readonly<Record<string, unknown>> | undefined;
  /** What to tell the operator of the server. */
  readonly requestId: string | undefined;
  /** With `INSUFFICIENT_CREDITS`: the price. */
  readonly creditsRequired: number | undefined;
  /** With `INSUFFICIENT_CREDITS`: the balance. */
  readonly creditsRemaining: number | undefined;
  /** Seconds to wait, when the server said so. */
  readonly retryAfter: number | undefined;
  /** With `RATE_LIMIT_EXCEEDED`: which limit. */
  readonly limits: ExceededLimit | undefined;
  /** What was paid back. */
  readonly refund: Refund | undefined;
  /** Whether the same request can succeed another time. */
  readonly retryable: boolean;
  /** The body as it came. */
  readonly body: unknown;
  /** The job that failed, when one was waited for. */
  readonly job: components["schemas"]["JobView"] | undefined;
  /** Whether the answer is that of an earlier request with the same idempotency key. */
  readonly replayed: boolean;
  readonly #texts: FriendlyTexts | undefined;

  constructor(fields: ApiErrorFields) {
    const body = isObject(fields.body) ? fields.body : {};
    super(stringOf(body.error) ?? `The server answered ${fields.status} without a readable error.`);
    this.status = fields.status;
    this.code = stringOf(body.code);
    this.details = isObject(body.details) ? body.details : undefined;
    this.requestId = stringOf(body.requestId) ?? fields.requestId;
    this.creditsRequired = numberOf(body.creditsRequired);
    this.creditsRemaining = numberOf(body.creditsRemaining);
    this.retryAfter = fields.retryAfter ?? numberOf(body.retryAfter);
    this.limits = isObject(body.limits) ? (body.limits as ExceededLimit) : undefined;
    this.refund = isObject(body.refund) ? (body.refund as Refund) : undefined;
    const said = this.details?.retryable;
    this.retryable = typeof said === "boolean" ? said : (entry(this.code)?.retryable ?? (this.status === 429 || this.status >= 500));
    this.body = fields.body;
    this.job = fields.job;
    this.replayed = fields.replayed ?? false;
    this.#texts = fields.texts;
  }

  override friendly(): string {
    const own = this.code !== undefined && this.#texts !== undefined && Object.hasOwn(this.#texts, this.code) ? this.#texts[this.code] : undefined;
    let text = own ?? (entry(this.code) ?? CATALOGUE.INTERNAL_ERROR).friendly;
    const numbers = { retryAfter: this.retryAfter, creditsRequired: this.creditsRequired, creditsRemaining: this.creditsRemaining };
    for (const [name, value] of Object.entries(numbers)) {
      const at = text.indexOf(`{${name}}`);
      if (at < 0) continue;
      if (value !== undefined) text = text.replaceAll(`{${name}}`, String(Math.ceil(value)));
      // Without its number a clause says nothing: the text ends before it.
      else text = text.slice(0, Math.max(text.lastIndexOf(". ", at), text.lastIndexOf(": ", at), 0)) + ".";
    }
    return text;
  }
}

/** 400: the request is not right. */
export class BadRequestError extends ApiError { override name = "BadRequestError"; }
/** A parameter is missing or wrong. */
export class InvalidInputError extends BadRequestError { override name = "InvalidInputError"; }
/** A file of this kind is not taken. */
export class InvalidFileTypeError extends BadRequestError { override name = "InvalidFileTypeError"; }
/** The file is too large. */
export class FileTooLargeError extends BadRequestError { override name = "FileTooLargeError"; }
/** A URL is not valid, or cannot be read. */
export class InvalidUrlError extends BadRequestError { override name = "InvalidUrlError"; }
/** 401: the key is missing or not good. */
export class AuthenticationError extends ApiError { override name = "AuthenticationError"; }
/** There was no key. */
export class MissingAuthError extends AuthenticationError { override name = "MissingAuthError"; }
/** The key has not the form of one. */
export class InvalidFormatError extends AuthenticationError { override name = "InvalidFormatError"; }
/** The key is not known. */
export class KeyNotFoundError extends AuthenticationError { override name = "KeyNotFoundError"; }
/** The key was revoked. */
export class KeyRevokedError extends AuthenticationError { override name = "KeyRevokedError"; }
/** The key has expired. */
export class KeyExpiredError extends AuthenticationError { override name = "KeyExpiredError"; }
/** 402: it costs more than there is, or than was allowed. */
export class PaymentRequiredError extends ApiError { override name = "PaymentRequiredError"; }
/** There are not enough credits. */
export class InsufficientCreditsError extends PaymentRequiredError { override name = "InsufficientCreditsError"; }
/** 403: the key may not do that. */
export class PermissionDeniedError extends ApiError { override name = "PermissionDeniedError"; }
/** The key lacks a scope; `details` says which. */
export class InsufficientScopeError extends PermissionDeniedError { override name = "InsufficientScopeError"; }
/** 404: it does not exist. */
export class NotFoundError extends ApiError { override name = "NotFoundError"; }
/** What was asked for does not exist. */
export class ResourceNotFoundError extends NotFoundError { override name = "ResourceNotFoundError"; }
/** The model does not exist. */
export class ModelNotFoundError extends NotFoundError { override name = "ModelNotFoundError"; }
/** The job does not exist. */
export class JobNotFoundError extends NotFoundError { override name = "JobNotFoundError"; }
/** 405: the path does not take this method. */
export class MethodNotAllowedError extends ApiError { override name = "MethodNotAllowedError"; }
/** 409: it does not go together with what is there. */
export class ConflictError extends ApiError { override name = "ConflictError"; }
/** The idempotency key belongs to another request, or to one still at work. */
export class IdempotencyConflictError extends ConflictError { override name = "IdempotencyConflictError"; }
/** The job has ended. */
export class JobNotCancellableError extends ConflictError { override name = "JobNotCancellableError"; }
/** 429: too much at a time. */
export class RateLimitError extends ApiError { override name = "RateLimitError"; }
/** A limit of requests or of jobs at a time was passed; `limits` says which. */
export class RateLimitExceededError extends RateLimitError { override name = "RateLimitExceededError"; }
/** 500 and more: it went wrong on the server. */
export class ServerError extends ApiError { override name = "ServerError"; }
/** The model failed; it was paid back. */
export class GenerationFailedError extends ServerError { override name = "GenerationFailedError"; }
/** The job took more than its time; it was paid back. */
export class ProcessingTimeoutError extends ServerError { override name = "ProcessingTimeoutError"; }
/** Something went wrong on the server. */
export class InternalError extends ServerError { override name = "InternalError"; }
/** 503: the server is busy, or about to stop. */
export class UnavailableError extends ApiError { override name = "UnavailableError"; }

type Class = new (fields: ApiErrorFields) => ApiError;

const BY_CODE: Record<ErrorCode, Class> = {
  INVALID_INPUT: InvalidInputError,
  INVALID_FILE_TYPE: InvalidFileTypeError,
  FILE_TOO_LARGE: FileTooLargeError,
  INVALID_URL: InvalidUrlError,
  MISSING_AUTH: MissingAuthError,
  INVALID_FORMAT: InvalidFormatError,
  KEY_NOT_FOUND: KeyNotFoundError,
  KEY_REVOKED: KeyRevokedError,
  KEY_EXPIRED: KeyExpiredError,
  INSUFFICIENT_CREDITS: InsufficientCreditsError,
  INSUFFICIENT_SCOPE: InsufficientScopeError,
  NOT_FOUND: ResourceNotFoundError,
  MODEL_NOT_FOUND: ModelNotFoundError,
  JOB_NOT_FOUND: JobNotFoundError,
  METHOD_NOT_ALLOWED: MethodNotAllowedError,
  IDEMPOTENCY_CONFLICT: IdempotencyConflictError,
  JOB_NOT_CANCELLABLE: JobNotCancellableError,
  RATE_LIMIT_EXCEEDED: RateLimitExceededError,
  GENERATION_FAILED: GenerationFailedError,
  PROCESSING_TIMEOUT: ProcessingTimeoutError,
  INTERNAL_ERROR: InternalError,
  UNAVAILABLE: UnavailableError,
};

const BY_STATUS: Record<number, Class> = {
  400: BadRequestError,
  401: AuthenticationError,
  402: PaymentRequiredError,
  403: PermissionDeniedError,
  404: NotFoundError,
  405: MethodNotAllowedError,
  409: ConflictError,
  429: RateLimitError,
  503: UnavailableError,
};

/** The error of its code; of a code that is not known, of its status. @internal */
export function apiError(fields: ApiErrorFields): ApiError {
  const code = isObject(fields.body) ? stringOf(fields.body.code) : undefined;
  const byCode = code !== undefined && Object.hasOwn(BY_CODE, code) ? BY_CODE[code as ErrorCode] : undefined;
  const { status } = fields;
  return new (byCode ?? BY_STATUS[status] ?? (status >= 500 ? ServerError : ApiError))(fields);
}

/** The error of a job that has failed. @internal */
export function jobError(job: components["schemas"]["JobView"], texts: FriendlyTexts | undefined): ApiError {
  const { error, code, details, refund } = job;
  const body = { error: error ?? "The job has failed", code: code ?? "GENERATION_FAILED", details, refund };
  return apiError({ status: entry(body.code)?.status ?? 500, body, job, texts });
}

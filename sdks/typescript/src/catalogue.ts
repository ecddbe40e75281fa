// Written by scripts/generate.mjs. Do not edit.

/** Every code of the server: its status, whether a repetition can help, and what to tell people. */
export const CATALOGUE = {
  INVALID_INPUT: { status: 400, retryable: false, friendly: "Something in this request is not right. Please check what you entered." },
  INVALID_FILE_TYPE: { status: 400, retryable: false, friendly: "This kind of file can't be used. Please choose a JPEG, PNG, WebP or GIF picture, or a file of the kind that is asked for." },
  FILE_TOO_LARGE: { status: 400, retryable: false, friendly: "This file is too large. Please choose a smaller one." },
  INVALID_URL: { status: 400, retryable: false, friendly: "The link can't be opened. Please check it, or upload the file instead." },
  MISSING_AUTH: { status: 401, retryable: false, friendly: "You are not signed in to this service." },
  INVALID_FORMAT: { status: 401, retryable: false, friendly: "The API key is not complete. Please copy it again." },
  KEY_NOT_FOUND: { status: 401, retryable: false, friendly: "This API key is not known here. Please check it." },
  KEY_REVOKED: { status: 401, retryable: false, friendly: "This API key has been revoked. Please use another one." },
  KEY_EXPIRED: { status: 401, retryable: false, friendly: "This API key has expired. Please use a new one." },
  INSUFFICIENT_CREDITS: { status: 402, retryable: false, friendly: "You've run out of credits: this costs {creditsRequired}, and you have {creditsRemaining}." },
  INSUFFICIENT_SCOPE: { status: 403, retryable: false, friendly: "This API key may not do that." },
  NOT_FOUND: { status: 404, retryable: false, friendly: "We couldn't find that." },
  MODEL_NOT_FOUND: { status: 404, retryable: false, friendly: "This model is not available. Please choose another one." },
  JOB_NOT_FOUND: { status: 404, retryable: false, friendly: "We couldn't find that job." },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false, friendly: "That can't be done here." },
  IDEMPOTENCY_CONFLICT: { status: 409, retryable: false, friendly: "This request was already sent, in another form. Please start again." },
  JOB_NOT_CANCELLABLE: { status: 409, retryable: false, friendly: "It is too late to cancel: the job has ended." },
  RATE_LIMIT_EXCEEDED: { status: 429, retryable: true, friendly: "That was a bit fast. Please try again in {retryAfter} s." },
  GENERATION_FAILED: { status: 500, retryable: true, friendly: "It didn't work this time, and you got your credits back. Please try again." },
  PROCESSING_TIMEOUT: { status: 500, retryable: true, friendly: "It took too long, and you got your credits back. Please try again." },
  INTERNAL_ERROR: { status: 500, retryable: true, friendly: "Something went wrong on our side. Please try again later." },
  UNAVAILABLE: { status: 503, retryable: true, friendly: "The service is busy right now. Please try again in a moment." },
} as const;

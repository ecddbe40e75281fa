"""The codes of the server: their status, whether a repetition can help, and what to tell people."""

# Written by scripts/generate.py; do not change it here.

# ruff: noqa: E501

from typing import Dict, NamedTuple  # noqa: UP035


class Entry(NamedTuple):
    """What is known of a code."""

    status: int
    retryable: bool
    friendly: str


CATALOGUE: Dict[str, Entry] = {  # noqa: UP006
    "INVALID_INPUT": Entry(400, False, "Something in this request is not right. Please check what you entered."),
    "INVALID_FILE_TYPE": Entry(400, False, "This kind of file can't be used. Please choose a JPEG, PNG, WebP or GIF picture, or a file of the kind that is asked for."),
    "FILE_TOO_LARGE": Entry(400, False, "This file is too large. Please choose a smaller one."),
    "INVALID_URL": Entry(400, False, "The link can't be opened. Please check it, or upload the file instead."),
    "MISSING_AUTH": Entry(401, False, "You are not signed in to this service."),
    "INVALID_FORMAT": Entry(401, False, "The API key is not complete. Please copy it again."),
    "KEY_NOT_FOUND": Entry(401, False, "This API key is not known here. Please check it."),
    "KEY_REVOKED": Entry(401, False, "This API key has been revoked. Please use another one."),
    "KEY_EXPIRED": Entry(401, False, "This API key has expired. Please use a new one."),
    "INSUFFICIENT_CREDITS": Entry(402, False, "You've run out of credits: this costs {creditsRequired}, and you have {creditsRemaining}."),
    "INSUFFICIENT_SCOPE": Entry(403, False, "This API key may not do that."),
    "NOT_FOUND": Entry(404, False, "We couldn't find that."),
    "MODEL_NOT_FOUND": Entry(404, False, "This model is not available. Please choose another one."),
    "JOB_NOT_FOUND": Entry(404, False, "We couldn't find that job."),
    "METHOD_NOT_ALLOWED": Entry(405, False, "That can't be done here."),
    "IDEMPOTENCY_CONFLICT": Entry(409, False, "This request was already sent, in another form. Please start again."),
    "JOB_NOT_CANCELLABLE": Entry(409, False, "It is too late to cancel: the job has ended."),
    "RATE_LIMIT_EXCEEDED": Entry(429, True, "That was a bit fast. Please try again in {retryAfter} s."),
    "GENERATION_FAILED": Entry(500, True, "It didn't work this time, and you got your credits back. Please try again."),
    "PROCESSING_TIMEOUT": Entry(500, True, "It took too long, and you got your credits back. Please try again."),
    "INTERNAL_ERROR": Entry(500, True, "Something went wrong on our side. Please try again later."),
    "UNAVAILABLE": Entry(503, True, "The service is busy right now. Please try again in a moment."),
}

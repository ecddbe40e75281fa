"""What can go wrong. Everything that is raised is a `VydraError`, with a sentence for people in `friendly()`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Optional

from ._catalogue import CATALOGUE

_OTHERWISE = CATALOGUE["INTERNAL_ERROR"].friendly


class VydraError(Exception):
    """The base of all errors of this package."""

    _text = _OTHERWISE

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    @property
    def cause(self) -> Optional[BaseException]:
        """What lies beneath, if anything does."""
        return self.__cause__

    def friendly(self) -> str:
        """A sentence for the person in front of the program."""
        return self._text


class ConfigurationError(VydraError):
    """No server, no key, or a credentials file that cannot be understood."""

    _text = "This program is not set up correctly."


class ConnectionError(VydraError):
    """No answer: the name, the connection, TLS, or a broken body."""

    _text = "We couldn't reach the service. Please check your connection and try again."


class TimeoutError(ConnectionError):
    """The time for an answer is over, or nothing came for too long."""

    _text = "The service took too long to answer. Please try again."


class WaitTimeoutError(VydraError):
    """The job has not ended in the time that was given. It goes on."""

    _text = "This takes longer than usual. It goes on in the background; please look again later."

    def __init__(self, message: str = "", *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobCancelledError(VydraError):
    """The job that was waited for was cancelled."""

    _text = "This was cancelled, and you got your credits back."

    def __init__(self, message: str = "", *, job: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(message)
        self.job = job


class WebhookVerificationError(VydraError):
    """A webhook that is not ours, or too old."""

    _text = "This message can't be trusted, and was left alone."


class DownloadError(VydraError):
    """What was downloaded is no medium: JSON, HTML, nothing, or less than was promised."""

    _text = "The file couldn't be downloaded. Please try again."


class ApiError(VydraError):
    """An error that the server answered with."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: Optional[str] = None,
        details: Optional[dict[str, Any]] = None,
        request_id: Optional[str] = None,
        credits_required: Optional[int] = None,
        credits_remaining: Optional[int] = None,
        retry_after: Optional[float] = None,
        limits: Optional[dict[str, Any]] = None,
        refund: Optional[dict[str, Any]] = None,
        body: Any = None,
        job: Optional[Mapping[str, Any]] = None,
        replayed: bool = False,
        texts: Optional[Mapping[str, str]] = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        """The status of the answer; of a job that failed, that of its code."""
        self.code = code
        """The stable word for programs; None where the answer is not the server's own."""
        self.details = details
        self.request_id = request_id
        """What to tell the operator."""
        self.credits_required = credits_required
        self.credits_remaining = credits_remaining
        self.retry_after = retry_after
        """Seconds to wait."""
        self.limits = limits
        """Which limit was exceeded."""
        self.refund = refund
        """What was paid back."""
        self.body = body
        """The answer as it came: parsed if it is JSON, else text."""
        self.job = job
        """The job that was waited for and failed."""
        self.replayed = replayed
        """Whether the answer is that of an earlier request with the same Idempotency-Key."""
        self._texts = dict(texts or {})

    def __str__(self) -> str:
        parts = (self.code, f"request {self.request_id}" if self.request_id else None)
        named = ", ".join(part for part in parts if part)
        return f"{self.message} ({named})" if named else self.message

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later."""
        said = (self.details or {}).get("retryable")
        if isinstance(said, bool):
            return said
        entry = CATALOGUE.get(self.code or "")
        return entry.retryable if entry else self.status == 429 or self.status >= 500

    def friendly(self) -> str:
        """A sentence for the person in front of the program."""
        numbers = {
            "retryAfter": None if self.retry_after is None else math.ceil(self.retry_after),
            "creditsRequired": self.credits_required,
            "creditsRemaining": self.credits_remaining,
        }
        text = self._texts.get(self.code or "")
        if text is None:
            known = CATALOGUE.get(self.code or "")
            text = known.friendly if known else _OTHERWISE
        for name, number in numbers.items():
            before, found, _ = text.partition("{" + name + "}")
            if found and number is None:
                # It ends before what would need the number.
                text = re.sub(r"[.:][^.:]*$", "", before) + "."
            text = text.replace("{" + name + "}", str(number))
        return text


class BadRequestError(ApiError):
    """400: the request itself is wrong."""


class InvalidInputError(BadRequestError):
    """INVALID_INPUT."""


class InvalidFileTypeError(BadRequestError):
    """INVALID_FILE_TYPE."""


class FileTooLargeError(BadRequestError):
    """FILE_TOO_LARGE."""


class InvalidUrlError(BadRequestError):
    """INVALID_URL."""


class AuthenticationError(ApiError):
    """401: the key is missing or no good."""


class MissingAuthError(AuthenticationError):
    """MISSING_AUTH."""


class InvalidFormatError(AuthenticationError):
    """INVALID_FORMAT."""


class KeyNotFoundError(AuthenticationError):
    """KEY_NOT_FOUND."""


class KeyRevokedError(AuthenticationError):
    """KEY_REVOKED."""


class KeyExpiredError(AuthenticationError):
    """KEY_EXPIRED."""


class PaymentRequiredError(ApiError):
    """402: it costs more than there is, or than was allowed."""


class InsufficientCreditsError(PaymentRequiredError):
    """INSUFFICIENT_CREDITS."""


class PermissionDeniedError(ApiError):
    """403: the key may not do that."""


class InsufficientScopeError(PermissionDeniedError):
    """INSUFFICIENT_SCOPE."""


class NotFoundError(ApiError):
    """404: there is no such thing."""


class ResourceNotFoundError(NotFoundError):
    """NOT_FOUND."""


class ModelNotFoundError(NotFoundError):
    """MODEL_NOT_FOUND."""


class JobNotFoundError(NotFoundError):
    """JOB_NOT_FOUND."""


class MethodNotAllowedError(ApiError):
    """405, METHOD_NOT_ALLOWED."""


class ConflictError(ApiError):
    """409: not as things stand."""


class IdempotencyConflictError(ConflictError):
    """IDEMPOTENCY_CONFLICT."""


class JobNotCancellableError(ConflictError):
    """JOB_NOT_CANCELLABLE."""


class RateLimitError(ApiError):
    """429: too many requests."""


class RateLimitExceededError(RateLimitError):
    """RATE_LIMIT_EXCEEDED."""


class ServerError(ApiError):
    """500 and more: something went wrong on the server."""


class GenerationFailedError(ServerError):
    """GENERATION_FAILED: what was paid came back."""


class ProcessingTimeoutError(ServerError):
    """PROCESSING_TIMEOUT: what was paid came back."""


class InternalError(ServerError):
    """INTERNAL_ERROR."""


class UnavailableError(ApiError):
    """503, UNAVAILABLE."""


_BY_CODE: dict[str, type[ApiError]] = {
    "INVALID_INPUT": InvalidInputError,
    "INVALID_FILE_TYPE": InvalidFileTypeError,
    "FILE_TOO_LARGE": FileTooLargeError,
    "INVALID_URL": InvalidUrlError,
    "MISSING_AUTH": MissingAuthError,
    "INVALID_FORMAT": InvalidFormatError,
    "KEY_NOT_FOUND": KeyNotFoundError,
    "KEY_REVOKED": KeyRevokedError,
    "KEY_EXPIRED": KeyExpiredError,
    "INSUFFICIENT_CREDITS": InsufficientCreditsError,
    "INSUFFICIENT_SCOPE": InsufficientScopeError,
    "NOT_FOUND": ResourceNotFoundError,
    "MODEL_NOT_FOUND": ModelNotFoundError,
    "JOB_NOT_FOUND": JobNotFoundError,
    "METHOD_NOT_ALLOWED": MethodNotAllowedError,
    "IDEMPOTENCY_CONFLICT": IdempotencyConflictError,
    "JOB_NOT_CANCELLABLE": JobNotCancellableError,
    "RATE_LIMIT_EXCEEDED": RateLimitExceededError,
    "GENERATION_FAILED": GenerationFailedError,
    "PROCESSING_TIMEOUT": ProcessingTimeoutError,
    "INTERNAL_ERROR": InternalError,
    "UNAVAILABLE": UnavailableError,
}

_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    409: ConflictError,
    429: RateLimitError,
    503: UnavailableError,
}


def class_for(status: int, code: Optional[str]) -> type[ApiError]:
    """The class of an answer: that of its code, else that of its status."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)

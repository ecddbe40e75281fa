"""Client of Vydra, the self-hosted generation API: images, video and speech.

```python
import vydra

with vydra.Vydra() as client:
    job = client.generate.image({"prompt": "a boat"})
    client.download(job["url"], "boat.png")
```
"""

from . import errors, types, webhooks
from ._async_client import AsyncPage, AsyncVydra
from ._client import Page, Vydra
from ._core import RequestEvent, ResponseEvent, RetryEvent
from ._inputs import CompletedJob, ImageInput, ModelAnswer, SpeechInput, StreamEvent, VideoInput
from ._io import Clock
from ._version import __version__
from .errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ConnectionError,
    DownloadError,
    FileTooLargeError,
    GenerationFailedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InsufficientScopeError,
    InternalError,
    InvalidFileTypeError,
    InvalidFormatError,
    InvalidInputError,
    InvalidUrlError,
    JobCancelledError,
    JobNotCancellableError,
    JobNotFoundError,
    KeyExpiredError,
    KeyNotFoundError,
    KeyRevokedError,
    MethodNotAllowedError,
    MissingAuthError,
    ModelNotFoundError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProcessingTimeoutError,
    RateLimitError,
    RateLimitExceededError,
    ResourceNotFoundError,
    ServerError,
    TimeoutError,
    UnavailableError,
    VydraError,
    WaitTimeoutError,
    WebhookVerificationError,
)

__all__ = [
    "ApiError",
    "AsyncPage",
    "AsyncVydra",
    "AuthenticationError",
    "BadRequestError",
    "Clock",
    "CompletedJob",
    "ConfigurationError",
    "ConflictError",
    "ConnectionError",
    "DownloadError",
    "FileTooLargeError",
    "GenerationFailedError",
    "IdempotencyConflictError",
    "ImageInput",
    "InsufficientCreditsError",
    "InsufficientScopeError",
    "InternalError",
    "InvalidFileTypeError",
    "InvalidFormatError",
    "InvalidInputError",
    "InvalidUrlError",
    "JobCancelledError",
    "JobNotCancellableError",
    "JobNotFoundError",
    "KeyExpiredError",
    "KeyNotFoundError",
    "KeyRevokedError",
    "MethodNotAllowedError",
    "MissingAuthError",
    "ModelAnswer",
    "ModelNotFoundError",
    "NotFoundError",
    "Page",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProcessingTimeoutError",
    "RateLimitError",
    "RateLimitExceededError",
    "RequestEvent",
    "ResourceNotFoundError",
    "ResponseEvent",
    "RetryEvent",
    "ServerError",
    "SpeechInput",
    "StreamEvent",
    "TimeoutError",
    "UnavailableError",
    "VideoInput",
    "Vydra",
    "VydraError",
    "WaitTimeoutError",
    "WebhookVerificationError",
    "__version__",
    "errors",
    "types",
    "webhooks",
]

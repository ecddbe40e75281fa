"""What the client does, once for both ways to run it: see docs/clients.md."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import mimetypes
import os
import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timezone
from pathlib import Path
from typing import IO, Any, Callable, Optional, Union
from urllib.parse import quote, urlencode

from ._catalogue import CATALOGUE
from ._config import Secret
from ._effects import Answer, Background, Close, Emit, Open, Program, Read, Request, Sleep, Work
from ._io import Clock
from ._sse import Parser
from ._version import __version__
from .errors import (
    ApiError,
    ConfigurationError,
    ConnectionError,
    DownloadError,
    JobCancelledError,
    TimeoutError,
    VydraError,
    WaitTimeoutError,
    class_for,
)

_SILENCE = 60.0
_HOLD = 25
_WAIT = 31 * 60.0
_BROKEN_OFF = (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
_OURS = (ConnectionError, ApiError)

File = Union[str, "os.PathLike[str]", bytes, IO[bytes]]
JobOrId = Union[str, Mapping[str, Any]]
Progress = Callable[[int, Optional[int]], object]


@dataclass(frozen=True)
class RequestEvent:
    """A request is about to be sent. `attempt` is 0 for the first try."""

    method: str
    url: str
    attempt: int


@dataclass(frozen=True)
class ResponseEvent:
    """A request was answered, with whatever status."""

    method: str
    url: str
    attempt: int
    status: int
    request_id: Optional[str]
    duration_ms: float


@dataclass(frozen=True)
class RetryEvent:
    """A request will be sent again after `wait_ms`; `attempt` counts that repetition."""

    method: str
    url: str
    attempt: int
    wait_ms: float
    error: VydraError


@dataclass
class Settings:
    """The options of a client."""

    base: str
    key: Secret
    timeout: float = 90.0
    max_retries: int = 4
    retry_budget: float = 120.0
    max_retry_after: float = 60.0
    friendly: Mapping[str, str] = field(default_factory=dict)
    on_request: Optional[Callable[[RequestEvent], object]] = None
    on_response: Optional[Callable[[ResponseEvent], object]] = None
    on_retry: Optional[Callable[[RetryEvent], object]] = None
    clock: Clock = field(default_factory=Clock)


def segment(text: str) -> str:
    """A part of a path that stays one part. The server answers to a wrong one; an empty one would name another path."""
    if text in ("", ".", ".."):
        raise ConfigurationError(f"{text!r} is no id")
    return quote(text, safe="")


def job_id(job: JobOrId) -> str:
    """The id of a job, given as that or as any answer that names it."""
    return job if isinstance(job, str) else str(job.get("id") or job["jobId"])


def completed(job: dict[str, Any]) -> dict[str, Any]:
    """A completed job, with `url` and `urls` whatever it made."""
    output = job.get("output") or {}
    urls = job.get("resultUrls") or [asset["url"] for asset in output.get("assets", [])]
    url = output.get("url") or (urls[0] if urls else None)
    return {**job, "url": url, "urls": urls or ([url] if url else [])}


def _growing(times: int) -> float:
    return min(10.0, 1.5**times)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _retry_after(headers: Mapping[str, str], body: Mapping[str, Any], now: float) -> Optional[float]:
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        date = email.utils.parsedate_to_datetime(said)
        # The oldest of the three forms of a date says no zone, and means this one.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now)
    except (TypeError, ValueError, IndexError):
        number = body.get("retryAfter")
        return float(number) if isinstance(number, (int, float)) and number >= 0 else None


class Core:
    """All of the behaviour, as programs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = settings.clock

    # Requests.

    def url(self, path: str, query: Optional[Mapping[str, Any]] = None) -> str:
        """The URL of a path below /api/v1."""
        given = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in (query or {}).items()
            if value is not None
        }
        return f"{self.settings.base}/api/v1/{path}" + (f"?{urlencode(given)}" if given else "")

    def request(self, method: str, path: str, query: Optional[Mapping[str, Any]] = None, body: Any = None) -> Request:
        """A request with the key."""
        request = Request(
            method,
            self.url(path, query),
            {
                "authorization": f"Bearer {self.settings.key.reveal()}",
                "user-agent": f"vydra-python/{__version__}",
                "accept": "application/json",
            },
        )
        if body is not None:
            request.content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            request.headers["content-type"] = "application/json"
        return request

    def call(
        self, method: str, path: str, query: Optional[Mapping[str, Any]] = None, body: Any = None, hold: float = 0
    ) -> Program[Any]:
        """Calls the API; GET and DELETE are repeated. `hold` is how long the server was asked to hold the answer."""
        request = self.request(method, path, query, body)
        return self._repeating(request, self.settings.timeout + hold, method in ("GET", "DELETE"))

    def buy(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        idempotency_key: Optional[str] = None,
        max_credits: Optional[int] = None,
        webhook_url: Optional[str] = None,
        simulate: Optional[str] = None,
        no_fallback: bool = False,
        prefer: Optional[str] = None,
    ) -> Program[Any]:
        """Calls what costs credits. It is repeated, because the key makes all tries one purchase."""
        request = self.request("POST", path, body={**body, "webhookUrl": webhook_url} if webhook_url else body)
        headers = {
            "idempotency-key": idempotency_key or str(uuid.uuid4()),
            "x-max-credits": None if max_credits is None else str(max_credits),
            "x-vydra-simulate": simulate,
            "x-vydra-no-fallback": "true" if no_fallback else None,
            "prefer": prefer,
        }
        request.headers.update({name: value for name, value in headers.items() if value is not None})
        return self._repeating(request, self.settings.timeout, True)

    def _repeating(self, request: Request, timeout: float, repeatable: bool) -> Program[Any]:
        return self._retrying(request, repeatable, lambda attempt: self._once(request, attempt, timeout))

    def _retrying(self, request: Request, repeatable: bool, once: Callable[[int], Program[Any]]) -> Program[Any]:
        began = self.clock.monotonic()
        attempt = 0
        while True:
            try:
                return (yield from once(attempt))
            except _OURS as error:
                pause = self.pause(error, attempt + 1) if repeatable and attempt < self.settings.max_retries else None
                if pause is None or self.clock.monotonic() + pause - began > self.settings.retry_budget:
                    raise
                attempt += 1
                self._on_retry(request, attempt, pause, error)
            yield Sleep(pause)

    def pause(self, error: VydraError, attempt: int) -> Optional[float]:
        """How long to wait before a repetition (the first is 1), or None where none can help."""
        jitter = self.clock.random() * min(8.0, 0.5 * 2.0 ** min(attempt - 1, 10))
        if not isinstance(error, ApiError):
            return jitter
        if error.code == "IDEMPOTENCY_CONFLICT":
            # The try before this one was taken, and is still at work.
            again = attempt > 1 and error.retry_after is not None
        else:
            again = error.status in (429, 500, 502, 503, 504) and (error.details or {}).get("retryable") is not False
        made = error.replayed or error.refund is not None or "jobId" in (error.details or {})
        if not again or made or (error.retry_after or 0) > self.settings.max_retry_after:
            return None
        return jitter if error.retry_after is None else error.retry_after

    def _on_retry(self, request: Request, attempt: int, pause: float, error: VydraError) -> None:
        if self.settings.on_retry:
            self.settings.on_retry(RetryEvent(request.method, request.url, attempt, pause * 1000, error))

    def _open(self, request: Request, attempt: int, timeout: Optional[float]) -> Program[Answer]:
        if self.settings.on_request:
            self.settings.on_request(RequestEvent(request.method, request.url, attempt))
        began = self.clock.monotonic()
        answer: Answer = yield Open(request, timeout, _SILENCE)
        if self.settings.on_response:
            event = ResponseEvent(
                request.method,
                request.url,
                attempt,
                answer.status,
                answer.headers.get("x-request-id"),
                (self.clock.monotonic() - began) * 1000,
            )
            try:
                self.settings.on_response(event)
            except BaseException:
                yield Close(answer)
                raise
        return answer

    def _body(self, answer: Answer, deadline: Optional[float]) -> Program[bytes]:
        body = bytearray()
        try:
            while True:
                left = None if deadline is None else deadline - self.clock.monotonic()
                if left is not None and left < 0:
                    raise TimeoutError("no whole answer in time")
                chunk: bytes = yield Read(answer, left)
                if not chunk:
                    return bytes(body)
                body += chunk
        finally:
            yield Close(answer)

    def _once(self, request: Request, attempt: int, timeout: Optional[float]) -> Program[Any]:
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        answer = yield from self._open(request, attempt, timeout)
        body = yield from self._body(answer, deadline)
        if not 200 <= answer.status < 300:
            raise self.error(answer, body)
        if answer.status == 204:
            return None
        value = _parsed(body)
        if value is None:
            raise ConnectionError(f"The server answered {answer.status} with a body that is not JSON.")
        return value

    def error(self, answer: Answer, raw: bytes) -> ApiError:
        """The error of an answer."""
        status, parsed = answer.status, _parsed(raw)
        body: dict[str, Any] = parsed if isinstance(parsed, dict) and isinstance(parsed.get("error"), str) else {}

        def field_of(name: str, kind: type) -> Any:
            return body[name] if isinstance(body.get(name), kind) else None

        code = field_of("code", str)
        message = body.get("error", f"The server answered {status} without a readable error.")
        if 300 <= status < 400:
            code, message = "UNEXPECTED_REDIRECT", f"The server answered {status}, a redirect, which is not followed."
        return class_for(status, code)(
            message,
            status=status,
            code=code,
            details=field_of("details", dict),
            request_id=field_of("requestId", str) or answer.headers.get("x-request-id"),
            credits_required=field_of("creditsRequired", int),
            credits_remaining=field_of("creditsRemaining", int),
            retry_after=_retry_after(answer.headers, body, self.clock.now()),
            limits=field_of("limits", dict),
            refund=field_of("refund", dict),
            body=raw.decode("utf-8", "replace") if parsed is None else parsed,
            replayed=answer.headers.get("idempotent-replayed", "").lower() == "true",
            texts=self.settings.friendly,
        )

    # Jobs.

    def generate(
        self, bought: Program[Any], *, timeout: Optional[float] = None, cancel_on_abort: bool = False
    ) -> Program[Any]:
        """Buys, and waits for what was bought."""
        job = yield from bought
        return (yield from self.wait(job, timeout=timeout, cancel_on_abort=cancel_on_abort))

    def wait(
        self, job: JobOrId, *, timeout: Optional[float] = None, cancel_on_abort: bool = False
    ) -> Program[dict[str, Any]]:
        """Waits until a job has ended."""
        name = job_id(job)
        try:
            ended = yield from self._wait(name, _WAIT if timeout is None else timeout)
        except _BROKEN_OFF:
            if cancel_on_abort:
                yield Background(self.call("DELETE", f"jobs/{segment(name)}"))
            raise
        if ended["status"] == "completed":
            return completed(ended)
        if ended["status"] == "cancelled":
            raise JobCancelledError(f"{name} was cancelled", job=ended)
        code = ended.get("code")
        status = CATALOGUE[code].status if code in CATALOGUE else 500
        raise class_for(status, code)(
            ended.get("error") or f"{name} failed",
            status=status,
            code=code,
            details=ended.get("details"),
            refund=ended.get("refund"),
            body=ended,
            job=ended,
            texts=self.settings.friendly,
        )

    def _wait(self, name: str, timeout: float) -> Program[dict[str, Any]]:
        deadline = self.clock.monotonic() + timeout
        fast = errors = 0
        while True:
            began = self.clock.monotonic()
            hold = min(_HOLD, max(0, math.ceil(deadline - began)))
            request = self.request("GET", f"jobs/{segment(name)}", {"wait": hold})
            failed: Optional[VydraError] = None
            try:
                job: dict[str, Any] = yield from self._once(request, errors, self.settings.timeout + hold)
                if job.get("status") in ("completed", "failed", "cancelled"):
                    return job
                errors = 0
                now = self.clock.monotonic()
                pause = min(_growing(fast), max(0.0, deadline - now)) if now - began < 1 else 0.0
                fast += now - began < 1
            except _OURS as error:
                failed = error
                errors += 1
                again = self.pause(error, errors)
                if again is None:
                    raise
                pause, now = again, self.clock.monotonic()
                if now + pause <= deadline:
                    self._on_retry(request, errors, pause, error)
            if now >= deadline or now + pause > deadline:
                raise WaitTimeoutError(f"{name} has not ended in {timeout:g} s; it goes on", job_id=name) from failed
            if pause:
                yield Sleep(pause)

    def stream(self, job: JobOrId, *, timeout: Optional[float] = None, cancel_on_abort: bool = False) -> Program[None]:
        """Emits how a job goes on, up to its end."""
        name = job_id(job)
        bound = _WAIT if timeout is None else timeout
        deadline = self.clock.monotonic() + bound
        last: Optional[str] = None
        broken = 0
        try:
            while True:
                request = self.request("GET", f"jobs/{segment(name)}/events")
                request.headers["accept"] = "text/event-stream"
                if last is not None:
                    request.headers["last-event-id"] = last
                failed: Optional[VydraError] = None
                pause = _growing(broken)
                try:
                    answer = yield from self._open(request, broken, None)
                    if answer.status != 200:
                        body = yield from self._body(answer, self.clock.monotonic() + self.settings.timeout)
                        if answer.status == 204:
                            return
                        raise self.error(answer, body)
                    try:
                        parser = Parser()
                        while True:
                            chunk: bytes = yield Read(answer, _SILENCE)
                            if not chunk:
                                break
                            for event in parser.feed(chunk):
                                broken, pause, last = 0, _growing(0), event.id
                                data = _parsed(event.data.encode())
                                if event.event not in ("status", "progress", "end") or not isinstance(data, dict):
                                    continue
                                yield Emit(
                                    {
                                        "event": event.event,
                                        "status": data.get("status"),
                                        "progress": data.get("progress"),
                                        "statusMessage": data.get("statusMessage"),
                                        "job": data if event.event == "end" else None,
                                    }
                                )
                                if event.event == "end":
                                    return
                    finally:
                        yield Close(answer)
                except _OURS as error:
                    if self.pause(error, broken + 1) is None:
                        raise
                    failed = error
                    if isinstance(error, ApiError) and error.retry_after is not None:
                        pause = error.retry_after
                if self.clock.monotonic() + pause > deadline:
                    raise WaitTimeoutError(f"{name} has not ended in {bound:g} s; it goes on", job_id=name) from failed
                broken += 1
                if failed is not None:
                    self._on_retry(request, broken, pause, failed)
                yield Sleep(pause)
        except (asyncio.CancelledError, KeyboardInterrupt):
            if cancel_on_abort:
                yield Background(self.call("DELETE", f"jobs/{segment(name)}"))
            raise

    # Files.

    def upload(self, file: File, filename: Optional[str] = None, type: Optional[str] = None) -> Program[Any]:
        """Sends a file. It is never sent again by itself: a stream is gone once it was read."""
        request = self.request("POST", "upload", {"type": type})
        path = Path(file) if isinstance(file, (str, os.PathLike)) else None
        named = filename or (path.name if path else None) or "file"
        content: Any = (yield Work(lambda: path.open("rb"))) if path else file
        request.files = {"file": (named, content, mimetypes.guess_type(named)[0] or "application/octet-stream")}
        try:
            return (yield from self._once(request, 0, None))
        finally:
            if path:
                yield Work(content.close)

    def download(self, url: str, to: Union[str, os.PathLike[str]], on_progress: Optional[Progress]) -> Program[Path]:
        """Fetches a file to a path, whole or not at all."""
        target = Path(to)
        # A name of its own, which is never too long where that of the file is not.
        part = target.with_name(f".{secrets.token_hex(6)}.part")

        def once(attempt: int) -> Program[None]:
            # The first try makes it: nobody else's is written.
            out: Any = yield Work(lambda: part.open("wb" if attempt else "xb"))
            try:
                yield from self._fetch(url, attempt, on_progress, lambda chunk: Work(lambda: out.write(chunk)))
            finally:
                yield Work(out.close)

        try:
            yield from self._downloading(url, once)
            yield Work(lambda: part.replace(target))
        except BaseException:
            with suppress(FileNotFoundError):
                part.unlink()
            raise
        return target

    def fetch(self, url: str, on_progress: Optional[Progress]) -> Program[bytes]:
        """Fetches a file to memory."""
        out = bytearray()

        def once(attempt: int) -> Program[None]:
            out.clear()
            yield from self._fetch(url, attempt, on_progress, lambda chunk: Work(lambda: out.extend(chunk)))

        yield from self._downloading(url, once)
        return bytes(out)

    def _downloading(self, url: str, once: Callable[[int], Program[None]]) -> Program[None]:
        yield from self._retrying(self._file_request(url), True, once)

    def _file_request(self, url: str) -> Request:
        # Without the key, wherever the file is.
        return Request("GET", url, {"user-agent": f"vydra-python/{__version__}", "accept": "*/*"}, redirects=True)

    def _fetch(
        self, url: str, attempt: int, on_progress: Optional[Progress], write: Callable[[bytes], Work]
    ) -> Program[None]:
        request = self._file_request(url)
        # As it is, so that the promised length is that of the file.
        request.headers["accept-encoding"] = "identity"
        answer = yield from self._open(request, attempt, None)
        if not 200 <= answer.status < 300:
            raise self.error(answer, (yield from self._body(answer, self.clock.monotonic() + self.settings.timeout)))
        try:
            kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
            length = answer.headers.get("content-length", "")
            total = int(length) if length.isascii() and length.isdigit() else None
            received = 0
            while True:
                try:
                    chunk: bytes = yield Read(answer, _SILENCE)
                except TimeoutError:
                    raise
                except ConnectionError as error:
                    if attempt < self.settings.max_retries:
                        raise
                    raise DownloadError(f"the file ended after {received} of {total} bytes") from error
                if not chunk:
                    break
                if not received and not _is_medium(kind, chunk):
                    raise DownloadError(f"what was downloaded is no medium but {kind or 'text'}")
                yield write(chunk)
                received += len(chunk)
                if on_progress:
                    on_progress(received, total)
            if not received:
                raise DownloadError("the file is empty")
        finally:
            yield Close(answer)


def _is_medium(kind: str, head: bytes) -> bool:
    if kind.split("/")[0] in ("image", "video", "audio"):
        return True
    if kind.startswith("text/") or kind.endswith(("json", "xml")):
        return False
    return not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[", b"<"))

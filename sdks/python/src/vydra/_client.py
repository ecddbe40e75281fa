"""The blocking client."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Generic, NoReturn, Optional, TypeVar, Union

import httpx

from . import types
from . import webhooks as _webhooks
from ._config import resolve
from ._core import Core, File, JobOrId, Progress, RequestEvent, ResponseEvent, RetryEvent, Settings, job_id, segment
from ._effects import Program
from ._inputs import CompletedJob, ImageInput, ModelAnswer, SpeechInput, StreamEvent, VideoInput
from ._io import Clock, SyncIO

__all__ = ["Page", "Vydra"]

T = TypeVar("T")


class Page(Generic[T]):
    """A page of a list. To iterate over it goes on to the pages behind it; `data` is this page alone."""

    def __init__(self, client: Vydra, path: str, query: Mapping[str, Any], payload: dict[str, Any]) -> None:
        self._client = client
        self._path = path
        self._query = query
        self.data: list[T] = payload["data"]
        """What is on this page."""
        self.pagination: dict[str, Any] = payload["pagination"]
        """`limit`, `offset`, `count` of all, and `nextCursor`."""

    @property
    def next_cursor(self) -> Optional[str]:
        """For `after`; None at the end."""
        cursor: Optional[str] = self.pagination.get("nextCursor")
        # A cursor that leads to itself leads nowhere.
        return None if cursor == self._query.get("after") else cursor

    def next_page(self) -> Optional[Page[T]]:
        """The page behind this one, or None at the end."""
        if self.next_cursor is None:
            return None
        # A cursor goes on from where it is; an offset beside it would skip.
        query = {**self._query, "after": self.next_cursor, "offset": None}
        payload = self._client._run(self._client._core.call("GET", self._path, query))
        return Page(self._client, self._path, query, payload)

    def __iter__(self) -> Iterator[T]:
        page: Optional[Page[T]] = self
        while page is not None:
            for item in page.data:
                yield item
            page = page.next_page()


def _page(client: Vydra, path: str, query: Mapping[str, Any]) -> Page[Any]:
    return Page(client, path, query, client._run(client._core.call("GET", path, query)))


class _Resource:
    def __init__(self, client: Vydra) -> None:
        self._client = client
        self._core = client._core

    def _run(self, program: Program[Any]) -> Any:
        return self._client._run(program)


class Generate(_Resource):
    """Buys, waits, and gives the completed job with `url` and `urls` of what was made.

    Each takes the options of `jobs.create`, and those of `wait`: `timeout` and `cancel_on_abort`.
    """

    def image(
        self,
        input: ImageInput,
        *,
        timeout: Optional[float] = None,
        cancel_on_abort: bool = False,
        idempotency_key: Optional[str] = None,
        max_credits: Optional[int] = None,
        webhook_url: Optional[str] = None,
        simulate: Optional[str] = None,
        no_fallback: bool = False,
    ) -> CompletedJob:
        """Makes an image of a text."""
        bought = self._core.buy(
            "jobs",
            {"workflow": "generate_image", "input": input},
            idempotency_key=idempotency_key,
            max_credits=max_credits,
            webhook_url=webhook_url,
            simulate=simulate,
            no_fallback=no_fallback,
        )
        job: CompletedJob = self._run(self._core.generate(bought, timeout=timeout, cancel_on_abort=cancel_on_abort))
        return job

    def video(
        self,
        input: VideoInput,
        *,
        timeout: Optional[float] = None,
        cancel_on_abort: bool = False,
        idempotency_key: Optional[str] = None,
        max_credits: Optional[int] = None,
        webhook_url: Optional[str] = None,
        simulate: Optional[str] = None,
        no_fallback: bool = False,
    ) -> CompletedJob:
        """Makes a video of a text, or of an image and a text."""
        bought = self._core.buy(
            "jobs",
            {"workflow": "generate_video", "input": input},
            idempotency_key=idempotency_key,
            max_credits=max_credits,
            webhook_url=webhook_url,
            simulate=simulate,
            no_fallback=no_fallback,
        )
        job: CompletedJob = self._run(self._core.generate(bought, timeout=timeout, cancel_on_abort=cancel_on_abort))
        return job

    def speech(
        self,
        input: SpeechInput,
        *,
        timeout: Optional[float] = None,
        cancel_on_abort: bool = False,
        idempotency_key: Optional[str] = None,
        max_credits: Optional[int] = None,
        webhook_url: Optional[str] = None,
        simulate: Optional[str] = None,
        no_fallback: bool = False,
    ) -> CompletedJob:
        """Speaks a text."""
        bought = self._core.buy(
            "models/elevenlabs/tts",
            input,
            prefer="respond-async",
            idempotency_key=idempotency_key,
            max_credits=max_credits,
            webhook_url=webhook_url,
            simulate=simulate,
            no_fallback=no_fallback,
        )
        job: CompletedJob = self._run(self._core.generate(bought, timeout=timeout, cancel_on_abort=cancel_on_abort))
        return job


class Jobs(_Resource):
    """What was bought."""

    def create(
        self,
        workflow: str,
        input: Mapping[str, Any],
        *,
        idempotency_key: Optional[str] = None,
        max_credits: Optional[int] = None,
        webhook_url: Optional[str] = None,
        simulate: Optional[str] = None,
        no_fallback: bool = False,
    ) -> types.CreatedJob:
        """Buys a job, and does not wait for it.

        The same `idempotency_key` buys once, however often it is sent; without one, the client makes one for its own
        repetitions. What would cost more than `max_credits` is refused. `webhook_url` is told of the end. `simulate`
        makes an outcome happen in the sandbox. `no_fallback` asks for this provider and no other.
        """
        job: types.CreatedJob = self._run(
            self._core.buy(
                "jobs",
                {"workflow": workflow, "input": input},
                idempotency_key=idempotency_key,
                max_credits=max_credits,
                webhook_url=webhook_url,
                simulate=simulate,
                no_fallback=no_fallback,
            )
        )
        return job

    def get(self, job: JobOrId, *, wait: Optional[int] = None) -> types.Job:
        """A job as it is; with `wait`, once it has ended or after so many seconds (at most 60)."""
        program = self._core.call("GET", f"jobs/{segment(job_id(job))}", {"wait": wait}, hold=wait or 0)
        found: types.Job = self._run(program)
        return found

    def list(
        self,
        *,
        status: Optional[str] = None,
        workflow: Optional[str] = None,
        after: Optional[str] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
    ) -> Page[types.Job]:
        """The jobs of the organization, the newest first."""
        query = {"limit": limit, "offset": offset, "status": status, "workflow": workflow, "after": after}
        return _page(self._client, "jobs", query)

    def cancel(self, job: JobOrId) -> types.Job:
        """Cancels a job; what it cost comes back."""
        cancelled: types.Job = self._run(self._core.call("DELETE", f"jobs/{segment(job_id(job))}"))
        return cancelled

    def charges(self, job: JobOrId) -> types.Charges:
        """Why a job cost what it cost."""
        charges: types.Charges = self._run(self._core.call("GET", f"jobs/{segment(job_id(job))}/charges"))
        return charges


class Models(_Resource):
    """What can be called, and calling it."""

    def list(self, *, provider: Optional[str] = None, is_active: Optional[bool] = None) -> types.ModelList:
        """All models."""
        query = {"provider": provider, "isActive": is_active}
        models: types.ModelList = self._run(self._core.call("GET", "models", query))
        return models

    def get(self, slug: str) -> types.Model:
        """One model, with the schema of its input."""
        model: types.Model = self._run(self._core.call("GET", f"models/{segment(slug)}"))
        return model

    def run(
        self,
        path: str,
        input: Mapping[str, Any],
        *,
        idempotency_key: Optional[str] = None,
        max_credits: Optional[int] = None,
        webhook_url: Optional[str] = None,
        simulate: Optional[str] = None,
        no_fallback: bool = False,
    ) -> ModelAnswer:
        """Calls a model at its path, such as `gemini/edit`. What takes longer gives a pending job: `wait` for it."""
        answer: ModelAnswer = self._run(
            self._core.buy(
                "models/" + "/".join(map(segment, path.strip("/").split("/"))),
                input,
                idempotency_key=idempotency_key,
                max_credits=max_credits,
                webhook_url=webhook_url,
                simulate=simulate,
                no_fallback=no_fallback,
            )
        )
        return answer


class Keys(_Resource):
    """The keys of the organization. They are made by people, in the dashboard."""

    def list(self) -> types.KeyList:
        """All keys, without their secret parts."""
        keys: types.KeyList = self._run(self._core.call("GET", "api-keys"))
        return keys

    def get(self, id: str) -> types.Key:
        """One key."""
        key: types.Key = self._run(self._core.call("GET", f"api-keys/{segment(id)}"))
        return key

    def revoke(self, id: str) -> types.Key:
        """Revokes a key, from the next request on."""
        key: types.Key = self._run(self._core.call("DELETE", f"api-keys/{segment(id)}"))
        return key


class Assets(_Resource):
    """What was made."""

    def list(
        self,
        *,
        workflow: Optional[str] = None,
        after: Optional[str] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
    ) -> Page[types.StoredAsset]:
        """The results of all jobs, the newest first."""
        query = {"limit": limit, "offset": offset, "workflow": workflow, "after": after}
        return _page(self._client, "assets", query)

    def get(self, id: str) -> types.StoredAsset:
        """One result."""
        asset: types.StoredAsset = self._run(self._core.call("GET", f"assets/{segment(id)}"))
        return asset

    def delete(self, id: str) -> types.DeletedAsset:
        """Deletes a result and its file."""
        deleted: types.DeletedAsset = self._run(self._core.call("DELETE", f"assets/{segment(id)}"))
        return deleted


class Endpoints(_Resource):
    """Where the ends of all jobs are told."""

    def list(self) -> types.EndpointList:
        """All endpoints."""
        endpoints: types.EndpointList = self._run(self._core.call("GET", "webhooks/endpoints"))
        return endpoints

    def create(
        self, url: str, *, events: Optional[Iterable[str]] = None, description: Optional[str] = None
    ) -> types.Endpoint:
        """Adds an endpoint, for these events or for all."""
        given = {"url": url, "events": None if events is None else [*events], "description": description}
        body = {name: value for name, value in given.items() if value is not None}
        endpoint: types.Endpoint = self._run(self._core.call("POST", "webhooks/endpoints", body=body))
        return endpoint

    def get(self, id: str) -> types.Endpoint:
        """One endpoint."""
        endpoint: types.Endpoint = self._run(self._core.call("GET", f"webhooks/endpoints/{segment(id)}"))
        return endpoint

    def update(
        self,
        id: str,
        *,
        url: Optional[str] = None,
        events: Optional[Iterable[str]] = None,
        description: Optional[str] = None,
        enabled: Optional[bool] = None,
    ) -> types.Endpoint:
        """Changes what is named of an endpoint."""
        named = None if events is None else [*events]
        given = {"url": url, "events": named, "description": description, "enabled": enabled}
        body = {name: value for name, value in given.items() if value is not None}
        program = self._core.call("PATCH", f"webhooks/endpoints/{segment(id)}", body=body)
        endpoint: types.Endpoint = self._run(program)
        return endpoint

    def delete(self, id: str) -> types.DeletedEndpoint:
        """Removes an endpoint."""
        deleted: types.DeletedEndpoint = self._run(self._core.call("DELETE", f"webhooks/endpoints/{segment(id)}"))
        return deleted


class Deliveries(_Resource):
    """What was sent to webhooks in the last 30 days."""

    def list(
        self,
        *,
        status: Optional[str] = None,
        endpoint_id: Optional[str] = None,
        after: Optional[str] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
    ) -> Page[types.Delivery]:
        """The deliveries, the newest first."""
        query = {"limit": limit, "offset": offset, "status": status, "endpointId": endpoint_id, "after": after}
        return _page(self._client, "webhooks/deliveries", query)

    def get(self, id: str) -> types.Delivery:
        """One delivery."""
        delivery: types.Delivery = self._run(self._core.call("GET", f"webhooks/deliveries/{segment(id)}"))
        return delivery

    def resend(self, id: str) -> types.Delivery:
        """Sends one again, with the same id."""
        program = self._core.call("POST", f"webhooks/deliveries/{segment(id)}/resend")
        delivery: types.Delivery = self._run(program)
        return delivery


class WebhookSecret(_Resource):
    """What webhooks are signed with."""

    def get(self) -> types.Secret:
        """The secret of this key's mode."""
        secret: types.Secret = self._run(self._core.call("GET", "webhooks/secret"))
        return secret

    def rotate(self, *, overlap_hours: Optional[int] = None) -> types.Secret:
        """Replaces the secret; the old one signs too for so many hours."""
        body = {} if overlap_hours is None else {"overlapHours": overlap_hours}
        secret: types.Secret = self._run(self._core.call("POST", "webhooks/secret/rotate", body=body))
        return secret


class Webhooks(_Resource):
    """How the ends of jobs are told."""

    def __init__(self, client: Vydra) -> None:
        super().__init__(client)
        self.endpoints = Endpoints(client)
        self.deliveries = Deliveries(client)
        self.secret = WebhookSecret(client)

    def test(self, *, endpoint_id: Optional[str] = None) -> types.SentTests:
        """Sends a `webhook.test` to an endpoint, or to all."""
        body = {} if endpoint_id is None else {"endpointId": endpoint_id}
        sent: types.SentTests = self._run(self._core.call("POST", "webhooks/test", body=body))
        return sent

    def verify(
        self, body: Union[bytes, str], headers: Mapping[str, str], secret: Union[str, Iterable[str]]
    ) -> _webhooks.WebhookEvent:
        """The event of a webhook that came; see `vydra.webhooks.verify`, which needs no client."""
        return _webhooks.verify(body, headers, secret, now=self._core.clock.now())


class Vydra:
    """A client of one server, as one key.

    `base_url` and `api_key` are taken from `VYDRA_BASE_URL` and `VYDRA_API_KEY`, or from the credentials file, where
    they are not given. `timeout` bounds one request, from its beginning to its last byte; uploads, downloads and
    streams are bounded by silence instead. `friendly` maps codes to texts of your own. `transport`
    replaces that of httpx.

    Close it, or use it as a context manager.
    """

    def __init__(
        self,
        *,
        base_url: Optional[str] = None,
        api_key: Optional[str] = None,
        timeout: float = 90.0,
        max_retries: int = 4,
        retry_budget: float = 120.0,
        max_retry_after: float = 60.0,
        friendly: Optional[Mapping[str, str]] = None,
        on_request: Optional[Callable[[RequestEvent], object]] = None,
        on_response: Optional[Callable[[ResponseEvent], object]] = None,
        on_retry: Optional[Callable[[RetryEvent], object]] = None,
        transport: Optional[httpx.BaseTransport] = None,
        clock: Optional[Clock] = None,
    ) -> None:
        base, key = resolve(base_url, api_key)
        settings = Settings(
            base,
            key,
            timeout,
            max_retries,
            retry_budget,
            max_retry_after,
            dict(friendly or {}),
            on_request,
            on_response,
            on_retry,
            clock or Clock(),
        )
        self._core = Core(settings)
        self._io = SyncIO(transport, settings.clock)
        self.generate = Generate(self)
        self.jobs = Jobs(self)
        self.models = Models(self)
        self.keys = Keys(self)
        self.assets = Assets(self)
        self.webhooks = Webhooks(self)

    @property
    def base_url(self) -> str:
        """The server that is asked."""
        return self._core.settings.base

    def _run(self, program: Program[Any]) -> Any:
        return self._io.run(program)

    def wait(self, job: JobOrId, *, timeout: Optional[float] = None, cancel_on_abort: bool = False) -> CompletedJob:
        """Waits until a job has ended, at most `timeout` seconds (31 minutes).

        Gives the completed job; raises the error of its code if it failed, `JobCancelledError` if it was cancelled, and
        `WaitTimeoutError` if the time is over. With `cancel_on_abort`, to break the wait off (a cancelled task, Ctrl-C)
        cancels the job too.
        """
        ended: CompletedJob = self._run(self._core.wait(job, timeout=timeout, cancel_on_abort=cancel_on_abort))
        return ended

    def stream(
        self, job: JobOrId, *, timeout: Optional[float] = None, cancel_on_abort: bool = False
    ) -> Iterator[StreamEvent]:
        """How a job goes on, as it happens; the last event is `end`, with the job, however it ended."""
        return self._io.iterate(self._core.stream(job, timeout=timeout, cancel_on_abort=cancel_on_abort))

    def upload(self, file: File, *, filename: Optional[str] = None, type: Optional[str] = None) -> types.Upload:
        """Sends a file, given as a path, bytes or an open binary file; its `url` can be an input.

        `type` is `image` (if nothing is said), `video` or `audio`.
        """
        upload: types.Upload = self._run(self._core.upload(file, filename, type))
        return upload

    def download(self, url: str, to: Union[str, os.PathLike[str]], *, on_progress: Optional[Progress] = None) -> Path:
        """Fetches a result to a path, whole or not at all. `on_progress(received, total)` is told of every piece."""
        path: Path = self._run(self._core.download(url, to, on_progress))
        return path

    def bytes(self, url: str, *, on_progress: Optional[Progress] = None) -> bytes:
        """Fetches a result to memory."""
        content: bytes = self._run(self._core.fetch(url, on_progress))
        return content

    def quote(
        self, input: Mapping[str, Any], *, model: Optional[str] = None, workflow: Optional[str] = None
    ) -> types.Quote:
        """What a call of a model or workflow would cost; it costs nothing to ask."""
        named = {"model": model} if model is not None else {"workflow": workflow}
        quote: types.Quote = self._run(self._core.call("POST", "quotes", body={**named, "input": input}))
        return quote

    def credits(self) -> types.Credits:
        """What is left, was used and came back."""
        credits: types.Credits = self._run(self._core.call("GET", "billing/credits"))
        return credits

    def usage(self, *, from_: Optional[str] = None, to: Optional[str] = None, by: Optional[str] = None) -> types.Usage:
        """What was used between two days (`2026-03-01`), by `day`, `model` or `key`."""
        usage: types.Usage = self._run(self._core.call("GET", "usage", {"from": from_, "to": to, "by": by}))
        return usage

    def transactions(
        self,
        *,
        type: Optional[str] = None,
        job_id: Optional[str] = None,
        after: Optional[str] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
    ) -> Page[types.Transaction]:
        """Every movement of credits, the newest first."""
        query = {"limit": limit, "offset": offset, "type": type, "jobId": job_id, "after": after}
        return _page(self, "billing/transactions", query)

    def organization(self) -> types.Organization:
        """Whose key this is."""
        organization: types.Organization = self._run(self._core.call("GET", "organization"))
        return organization

    def rate_limits(self) -> types.RateLimits:
        """How many requests are allowed, and were made."""
        limits: types.RateLimits = self._run(self._core.call("GET", "account/rate-limits"))
        return limits

    def events(
        self, *, after: Optional[str] = None, limit: Optional[int] = None, wait: Optional[int] = None
    ) -> types.EventList:
        """The ends of jobs in their order; keep the `cursor` and ask for what is behind it (`after`)."""
        query = {"after": after, "limit": limit, "wait": wait}
        events: types.EventList = self._run(self._core.call("GET", "events", query, hold=wait or 0))
        return events

    def close(self) -> None:
        """Lets go of the connections."""
        self._io.close()

    def __enter__(self) -> Vydra:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.base_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client holds a key and connections, and is not pickled")

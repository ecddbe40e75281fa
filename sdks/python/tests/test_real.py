"""Against the real server."""

from __future__ import annotations

import asyncio
import collections
import json
import random
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Real
from support import read_request, reset

import vydra

CATALOGUE = json.loads((Path(__file__).resolve().parents[2] / "errors.json").read_text())
CLASSES = {
    "INVALID_INPUT": vydra.InvalidInputError,
    "INVALID_FILE_TYPE": vydra.InvalidFileTypeError,
    "FILE_TOO_LARGE": vydra.FileTooLargeError,
    "INVALID_URL": vydra.InvalidUrlError,
    "MISSING_AUTH": vydra.MissingAuthError,
    "INVALID_FORMAT": vydra.InvalidFormatError,
    "KEY_NOT_FOUND": vydra.KeyNotFoundError,
    "KEY_REVOKED": vydra.KeyRevokedError,
    "KEY_EXPIRED": vydra.KeyExpiredError,
    "INSUFFICIENT_CREDITS": vydra.InsufficientCreditsError,
    "INSUFFICIENT_SCOPE": vydra.InsufficientScopeError,
    "NOT_FOUND": vydra.ResourceNotFoundError,
    "MODEL_NOT_FOUND": vydra.ModelNotFoundError,
    "JOB_NOT_FOUND": vydra.JobNotFoundError,
    "METHOD_NOT_ALLOWED": vydra.MethodNotAllowedError,
    "IDEMPOTENCY_CONFLICT": vydra.IdempotencyConflictError,
    "JOB_NOT_CANCELLABLE": vydra.JobNotCancellableError,
    "RATE_LIMIT_EXCEEDED": vydra.RateLimitExceededError,
    "GENERATION_FAILED": vydra.GenerationFailedError,
    "PROCESSING_TIMEOUT": vydra.ProcessingTimeoutError,
    "INTERNAL_ERROR": vydra.InternalError,
    "UNAVAILABLE": vydra.UnavailableError,
}


class Hasty(vydra.Clock):
    """Waits a hundredth of what it is asked to."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 100)

    async def sleep_async(self, seconds: float) -> None:
        await super().sleep_async(seconds / 100)


def test_the_catalogue_is_whole() -> None:
    assert {entry["code"] for entry in CATALOGUE} == set(CLASSES)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["code"])
def test_every_code_gives_its_class_and_its_text(real: Real, entry: dict[str, Any], way: str) -> None:
    given: dict[str, Any] = {"base_url": real.url, "api_key": real.test, "clock": Hasty(), "max_retries": 1}

    def blocking() -> None:
        with vydra.Vydra(**given) as client:
            client.generate.image({"prompt": "a boat"}, simulate=entry["code"])

    async def asynchronous() -> None:
        async with vydra.AsyncVydra(**given) as client:
            await client.generate.image({"prompt": "a boat"}, simulate=entry["code"])

    with pytest.raises(vydra.ApiError) as caught:
        blocking() if way == "sync" else asyncio.run(asynchronous())
    error = caught.value
    assert type(error) is CLASSES[entry["code"]]
    assert (error.code, error.status) == (entry["code"], entry["status"])
    text = entry["friendly"]
    for name, value in [
        ("retryAfter", error.retry_after),
        ("creditsRequired", error.credits_required),
        ("creditsRemaining", error.credits_remaining),
    ]:
        if "{" + name + "}" in text:
            assert value is not None
            text = text.replace("{" + name + "}", f"{value:g}")
    assert error.friendly() == text
    if error.job:
        assert error.refund == {"applied": True, "creditsRefunded": 5}
    else:
        assert error.request_id


def test_the_three_kinds_end_to_end(real: Real, tmp_path: Path) -> None:
    with vydra.Vydra(base_url=real.url, api_key=real.live) as client:
        before = client.credits()["creditsRemaining"]
        made = [
            (client.generate.image({"prompt": "a boat"}, max_credits=5), b"\x89PNG"),
            (client.generate.speech({"text": "A boat."}), None),
            (client.generate.video({"prompt": "waves", "duration": 1}), b"ftyp"),
        ]
        for index, (job, magic) in enumerate(made):
            seen: list[tuple[int, int | None]] = []
            target = tmp_path / f"{index}"
            told = lambda received, total, seen=seen: seen.append((received, total))  # noqa: E731
            assert client.download(job["url"], target, on_progress=told) == target
            size = target.stat().st_size
            assert seen[-1] == (size, size)
            assert [received for received, _ in seen] == sorted(received for received, _ in seen)
            assert magic is None or magic in target.read_bytes()[:16]
            assert client.bytes(job["url"]) == target.read_bytes()
        spent = sum(job["creditsCharged"] for job, _ in made)
        assert client.credits()["creditsRemaining"] == before - spent
        upload = client.upload(tmp_path / "0", filename="boat.png")
        edited = client.models.run("gemini/edit", {"prompt": "make it night", "imageUrl": upload["url"]})
        assert client.wait(edited)["urls"]


def test_the_three_kinds_end_to_end_async(real: Real, tmp_path: Path) -> None:
    async def main() -> None:
        async with vydra.AsyncVydra(base_url=real.url, api_key=real.test) as client:
            image, speech, video = await asyncio.gather(
                client.generate.image({"prompt": "a boat"}),
                client.generate.speech({"text": "A boat."}),
                client.generate.video({"prompt": "waves"}),
            )
            for job in (image, speech, video):
                path = await client.download(job["url"], tmp_path / job["id"])
                assert path.stat().st_size > 0
            short = await client.jobs.create("generate_image", {"prompt": "a boat"}, simulate="SLOW=1s")
            events = [event async for event in client.stream(short)]
            assert events[-1]["event"] == "end"
            assert events[-1]["status"] == "completed"
            slow = await client.jobs.create("generate_image", {"prompt": "a boat"}, simulate="SLOW=30s")
            cancelled = await client.jobs.cancel(slow["id"])
            assert cancelled["creditsRefunded"] == 5
            with pytest.raises(vydra.JobCancelledError):
                await client.wait(slow["id"])
            assert len([one async for one in await client.jobs.list(limit=2)]) >= 5

    asyncio.run(main())


class Chaos:
    """A proxy that breaks what it can, by a dice that always falls alike."""

    def __init__(self, upstream: str, seed: int) -> None:
        host, port = upstream.removeprefix("http://").split(":")
        self.upstream = (host, int(port))
        self.dice = random.Random(seed)
        self.lock = threading.Lock()
        self.faults: collections.Counter[str] = collections.Counter()
        self.threads: list[threading.Thread] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepting = threading.Thread(target=self._accept)
        self.accepting.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            thread = threading.Thread(target=self._serve, args=(connection,))
            self.threads.append(thread)
            thread.start()
            if self.stopping:
                return

    stopping = False

    def _forward(self, head: bytes) -> bytes:
        with socket.create_connection(self.upstream) as upstream:
            upstream.sendall(head)
            answer = b""
            while piece := upstream.recv(65536):
                answer += piece
            return answer

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            received = read_request(connection)
            if received is None:
                return
            headers = "".join(
                f"{name}: {value}\r\n" for name, value in received.headers.items() if name != "connection"
            )
            head = f"{received.method} {received.target} HTTP/1.1\r\n{headers}connection: close\r\n\r\n".encode()
            with self.lock:
                fault = self.dice.choices(
                    [
                        "none",
                        "reset before",
                        "reset after",
                        "half",
                        "429 seconds",
                        "429 date",
                        "429 body",
                        "429",
                        "500",
                    ],
                    [30, 10, 12, 12, 5, 5, 5, 5, 16],
                )[0]
                self.faults[fault] += 1
            if fault == "reset before":
                return reset(connection)
            if fault.startswith("429"):
                after = {
                    "429 seconds": "retry-after: 1\r\n",
                    "429 date": "retry-after: Sat, 01 Jan 2000 00:00:00 GMT\r\n",
                }
                body = {"error": "slow", "code": "RATE_LIMIT_EXCEEDED", "requestId": "r"}
                if fault == "429 body":
                    body = {**body, "retryAfter": 1}  # type: ignore[dict-item]
                return self._say(connection, "429 Slow", json.dumps(body), after.get(fault, ""))
            answer = self._forward(head + received.body)
            if fault == "reset after":
                return reset(connection)
            if fault == "500":
                return self._say(connection, "500 Broken", "<html>broken behind the proxy</html>", "")
            begin = answer.index(b"\r\n\r\n") + 4
            connection.sendall(answer[: (begin + len(answer)) // 2] if fault == "half" else answer)

    @staticmethod
    def _say(connection: socket.socket, status: str, body: str, headers: str) -> None:
        head = f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        connection.sendall((head + body).encode())

    def close(self) -> None:
        self.stopping = True
        with socket.create_connection(self.listener.getsockname()):
            pass
        self.accepting.join()
        for thread in self.threads:
            thread.join()
        self.listener.close()


def charges_by_prompt(real: Real) -> dict[str, int]:
    """How often each prompt was charged, from the ledger."""
    with vydra.Vydra(base_url=real.url, api_key=real.test) as client:
        prompts = {job["id"]: str(job["input"].get("text")) for job in client.jobs.list(limit=100)}
        charged = collections.Counter(
            prompts[str(row.get("jobId"))] for row in client.transactions(type="charge", limit=100)
        )
    return dict(charged)


def test_a_thousand_calls_through_a_broken_network_are_charged_once_each(real: Real) -> None:
    calls, at_once = 1000, 16
    chaos = Chaos(real.url, 20261128)
    succeeded: list[str] = []
    failed: collections.Counter[str] = collections.Counter()

    async def asynchronous(prompts: list[str]) -> None:
        async with vydra.AsyncVydra(base_url=chaos.url, api_key=real.test, clock=Hasty()) as client:

            async def worker() -> None:
                while prompts:
                    prompt = prompts.pop()
                    try:
                        await client.models.run("elevenlabs/tts", {"text": prompt})
                    except vydra.VydraError as error:
                        failed[type(error).__name__] += 1
                    else:
                        succeeded.append(prompt)

            await asyncio.gather(*(worker() for _ in range(at_once)))

    def blocking(prompts: list[str]) -> None:
        with vydra.Vydra(base_url=chaos.url, api_key=real.test, clock=Hasty()) as client:
            for prompt in prompts:
                try:
                    client.models.run("elevenlabs/tts", {"text": prompt})
                except vydra.VydraError as error:
                    failed[type(error).__name__] += 1
                else:
                    succeeded.append(prompt)

    try:
        asyncio.run(asynchronous([f"chaos async {index}" for index in range(calls - 200)]))
        blocking([f"chaos sync {index}" for index in range(200)])
    finally:
        chaos.close()
    charged = {prompt: times for prompt, times in charges_by_prompt(real).items() if prompt.startswith("chaos ")}
    print(f"{len(succeeded)} succeeded, failed {dict(failed)}, charged {len(charged)}, faults {dict(chaos.faults)}")
    assert len(succeeded) + sum(failed.values()) == calls
    assert min(chaos.faults.values()) > 20
    assert {prompt for prompt, times in charged.items() if times > 1} == set()
    assert set(succeeded) <= set(charged)
    # Faults are rare enough for most calls, and frequent enough for many to be sent again.
    assert len(succeeded) > calls * 0.8
    assert sum(chaos.faults.values()) > calls * 1.8

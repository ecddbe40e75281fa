"""What the shared cases cannot reach."""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import FakeClock, scripted

import vydra
from vydra._config import Secret, resolve
from vydra._sse import Parser

SECRET = "vydra_live_user_abc_verysecretindeed"
PACKAGE = Path(__file__).resolve().parents[1]

RUNNING: dict[str, Any] = {"id": "job_1", "status": "running"}


def options(handler: Any = None, **more: Any) -> dict[str, Any]:
    transport = {} if handler is None else {"transport": httpx.MockTransport(handler)}
    return {"base_url": "https://example.com", "api_key": SECRET, "clock": FakeClock(), **transport, **more}


def test_derived_files_are_current() -> None:
    command = [sys.executable, str(PACKAGE / "scripts" / "generate.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_the_user_agent_has_the_version() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["user-agent"] == f"vydra-python/{vydra.__version__}"
        return httpx.Response(200, json={}, headers={"content-type": "application/json"})

    with vydra.Vydra(**options(handler)) as client:
        client.credits()


# The key.


def everything(error: BaseException) -> str:
    """All that a reporter of errors could show, of the error and of what caused it."""
    out = ""
    seen: BaseException | None = error
    while seen is not None:
        out += f"{seen!s} {seen!r} {vars(seen)!r} "
        request = getattr(seen, "_request", None)
        out += "" if request is None else repr(request.headers.raw)
        seen = seen.__cause__
    return out + "".join(traceback.format_exception(type(error), error, error.__traceback__))


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("status", [0, 200, 302, 401, 500])
def test_the_key_is_in_no_error_and_no_log(way: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {SECRET}"
        if status == 0:
            raise httpx.ConnectError("no route", request=request)
        return httpx.Response(status, text="<html>", headers={"location": "https://elsewhere.example/"})

    async def asynchronous() -> None:
        async with vydra.AsyncVydra(**options(handler, max_retries=1)) as client:
            await client.credits()

    def blocking() -> None:
        with vydra.Vydra(**options(handler, max_retries=1)) as client:
            client.credits()

    with pytest.raises(vydra.VydraError) as caught:
        blocking() if way == "sync" else asyncio.run(asynchronous())
    assert SECRET not in everything(caught.value)
    assert SECRET not in caplog.text
    assert SECRET.encode() not in pickle.dumps(caught.value)


def test_a_real_connection_that_fails_shows_no_key() -> None:
    with vydra.Vydra(base_url="http://127.0.0.1:1", api_key=SECRET, max_retries=0) as client:
        with pytest.raises(vydra.ConnectionError) as caught:
            client.credits()
    assert SECRET not in everything(caught.value)


@pytest.mark.parametrize("kind", [vydra.Vydra, vydra.AsyncVydra])
def test_the_key_is_in_no_representation(kind: Any) -> None:
    client = kind(**options())
    assert repr(client) == f"<{kind.__name__} of https://example.com>"
    assert SECRET not in repr(client._core.settings)
    assert SECRET not in repr(vars(client))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(client)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(SECRET))


@pytest.mark.parametrize("key", ["a key", "key\nx", "schlüssel", "key\x00"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(vydra.ConfigurationError) as caught:
        vydra.Vydra(base_url="https://example.com", api_key=key)
    assert key not in everything(caught.value).replace(repr(key), "")


def test_errors_survive_a_pickle() -> None:
    error = vydra.RateLimitExceededError("slow", status=429, code="RATE_LIMIT_EXCEEDED", retry_after=2.5)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is vydra.RateLimitExceededError
    assert (again.status, again.retry_after, again.friendly()) == (429, 2.5, error.friendly())
    assert "in 3 s." in again.friendly()


# Where the server and the key come from.


def write(folder: Path, text: str) -> dict[str, str]:
    (folder / "vydra").mkdir()
    (folder / "vydra" / "credentials.json").write_text(text)
    return {"XDG_CONFIG_HOME": str(folder)}


def test_arguments_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    environment = write(tmp_path, '{"baseUrl": "https://file.example/", "apiKey": "of-file"}')
    base, key = resolve(None, None, environment)
    assert (base, key.reveal()) == ("https://file.example", "of-file")
    environment["VYDRA_API_KEY"] = "of-environment"
    assert resolve(None, None, environment)[1].reveal() == "of-environment"
    environment["VYDRA_BASE_URL"] = "https://environment.example/api/v1"
    assert resolve(None, None, environment)[0] == "https://environment.example"
    base, key = resolve("https://argument.example", "of-argument", environment)
    assert (base, key.reveal()) == ("https://argument.example", "of-argument")


def test_the_key_of_the_file_is_for_its_server_only(tmp_path: Path) -> None:
    environment = write(tmp_path, '{"baseUrl": "https://file.example", "apiKey": "of-file"}')
    assert resolve("https://FILE.example/api/v1/", None, environment)[1].reveal() == "of-file"
    with pytest.raises(vydra.ConfigurationError, match=r"no key for https://other\.example"):
        resolve("https://other.example", None, environment)
    with pytest.raises(vydra.ConfigurationError, match="no key"):
        resolve("http://file.example", None, environment)


def test_a_key_without_a_server_in_the_file_is_for_none(tmp_path: Path) -> None:
    environment = write(tmp_path, '{"apiKey": "of-file"}')
    with pytest.raises(vydra.ConfigurationError, match="no key"):
        resolve("https://file.example", None, environment)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"apiKey": 1}', '"x"'])
def test_a_file_that_cannot_be_understood_is_an_error_where_it_is_needed(tmp_path: Path, text: str) -> None:
    environment = write(tmp_path, text)
    with pytest.raises(vydra.ConfigurationError, match=r"credentials\.json"):
        resolve(None, None, environment)
    resolve("https://a.example", "key", environment)


def test_a_relative_home_of_configurations_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, '{"baseUrl": "https://file.example", "apiKey": "of-file"}')
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(vydra.ConfigurationError, match="no server"):
        resolve(None, None, {"XDG_CONFIG_HOME": tmp_path.name})


def test_without_server_or_key_it_says_what_to_give(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(vydra.ConfigurationError, match="VYDRA_BASE_URL"):
        resolve(None, "key", environment)
    with pytest.raises(vydra.ConfigurationError, match="VYDRA_API_KEY"):
        resolve("https://a.example", None, environment)


@pytest.mark.parametrize("url", ["example.com", "ftp://a", "https://", "https://u:p@a", "https://a?x=1", "https://a:0"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(vydra.ConfigurationError):
        vydra.Vydra(base_url=url, api_key="key")


# Hooks.


def test_hooks_see_requests_but_no_key_and_no_body() -> None:
    answers = iter(
        [
            httpx.Response(503, json={"error": "busy", "code": "UNAVAILABLE"}, headers={"retry-after": "2"}),
            httpx.Response(201, json={"id": "job_1"}, headers={"x-request-id": "req_1"}),
        ]
    )
    seen: list[Any] = []
    hooks = {"on_request": seen.append, "on_response": seen.append, "on_retry": seen.append}
    with vydra.Vydra(**options(lambda _: next(answers), **hooks)) as client:
        client.jobs.create("generate_image", {"prompt": "a private thing"})
    url = "https://example.com/api/v1/jobs"
    assert seen[0] == vydra.RequestEvent("POST", url, 0)
    assert (seen[1].status, seen[1].attempt) == (503, 0)
    assert (seen[2].attempt, seen[2].wait_ms, type(seen[2].error)) == (1, 2000, vydra.UnavailableError)
    assert seen[3] == vydra.RequestEvent("POST", url, 1)
    assert (seen[4].status, seen[4].request_id) == (201, "req_1")
    assert len(seen) == 5
    assert SECRET not in repr(seen)
    assert "private" not in repr(seen)


def test_texts_of_ones_own() -> None:
    body = {"error": "x", "code": "INSUFFICIENT_CREDITS", "creditsRequired": 5, "creditsRemaining": 2}
    own = {"INSUFFICIENT_CREDITS": "Es fehlen Credits: {creditsRequired} statt {creditsRemaining}."}
    with vydra.Vydra(**options(lambda _: httpx.Response(402, json=body), friendly=own)) as client:
        with pytest.raises(vydra.InsufficientCreditsError) as caught:
            client.generate.image({"prompt": "x"})
    assert caught.value.friendly() == "Es fehlen Credits: 5 statt 2."


# Breaking off.


@pytest.mark.parametrize("cancel", [True, False])
def test_a_cancelled_task_cancels_its_job_once_if_asked_to(cancel: bool) -> None:
    sent: list[str] = []

    async def main() -> None:
        held = asyncio.Event()

        async def handler(request: httpx.Request) -> httpx.Response:
            sent.append(f"{request.method} {request.url.path}")
            if request.method == "GET":
                held.set()
                await asyncio.Event().wait()
            return httpx.Response(200, json=RUNNING)

        async with vydra.AsyncVydra(**options(handler)) as client:
            task = asyncio.create_task(client.generate.image({"prompt": "x"}, cancel_on_abort=cancel))
            await held.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert sent == ["POST /api/v1/jobs", "GET /api/v1/jobs/job_1"] + ["DELETE /api/v1/jobs/job_1"] * cancel


def test_ctrl_c_cancels_the_job_if_asked_to() -> None:
    sent: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        if request.method == "GET":
            raise KeyboardInterrupt
        return httpx.Response(200, json=RUNNING)

    with vydra.Vydra(**options(handler)) as client, pytest.raises(KeyboardInterrupt):
        client.wait("job_1", cancel_on_abort=True)
    assert sent == ["GET", "DELETE"]


def test_a_wait_that_times_out_leaves_the_job_alone() -> None:
    sent: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return httpx.Response(200, json=RUNNING)

    with vydra.Vydra(**options(handler)) as client, pytest.raises(vydra.WaitTimeoutError):
        client.wait("job_1", timeout=1, cancel_on_abort=True)
    assert set(sent) == {"GET"}


def test_a_download_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def pieces() -> Any:
            yield b"\x89PNG"
            begun.set()
            await asyncio.Event().wait()

        def handler(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "image/png"}, content=pieces())

        async with vydra.AsyncVydra(**options(handler)) as client:
            task = asyncio.create_task(client.download("https://example.com/a.png", tmp_path / "a.png"))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    with vydra.Vydra(**options(lambda _: httpx.Response(200, json={}))) as client:
        with pytest.raises(vydra.DownloadError):
            client.download("https://example.com/a.png", tmp_path / "a.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_a_stream_that_is_left_lets_go_of_its_connection() -> None:
    closed = threading.Event()

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            yield b'event: progress\nid: 1\ndata: {"progress": 1}\n\n'
            raise AssertionError("nobody asked for more")

        def close(self) -> None:
            closed.set()

    with vydra.Vydra(**options(lambda _: httpx.Response(200, stream=Body()))) as client:
        events: Any = client.stream("job_1")
        assert next(events)["progress"] == 1
        events.close()
    assert closed.is_set()


# Time.


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_time_of_a_request_is_from_its_beginning_to_the_last_byte(way: str) -> None:
    clock = FakeClock()
    answer = {"status": 200, "json": {"creditsRemaining": 1}, "takes": 91}
    with scripted([{"expect": {}, "answer": answer}], clock) as server:

        async def asynchronous() -> None:
            async with vydra.AsyncVydra(base_url=server.url, api_key=SECRET, clock=clock, max_retries=0) as client:
                await client.credits()

        def blocking() -> None:
            with vydra.Vydra(base_url=server.url, api_key=SECRET, clock=clock, max_retries=0) as client:
                client.credits()

        with pytest.raises(vydra.TimeoutError):
            blocking() if way == "sync" else asyncio.run(asynchronous())


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_server_that_says_nothing_is_given_up_on(way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "api_key": SECRET,
            "timeout": 0.05,
            "max_retries": 0,
        }

        async def asynchronous() -> None:
            async with vydra.AsyncVydra(**given) as client:
                await client.credits()

        def blocking() -> None:
            with vydra.Vydra(**given) as client:
                client.credits()

        with pytest.raises(vydra.TimeoutError) as caught:
            blocking() if way == "sync" else asyncio.run(asynchronous())
        assert SECRET not in everything(caught.value)


# Server-sent events.


def test_events_are_the_same_wherever_the_stream_is_cut() -> None:
    raw = "\ufeff: hi\r\nevent: progress\nid: 1\r\ndata: ö\r\ndata: b\n\nid: 2\rdata\r\rdata: c\n\nid: 3\n\n".encode()
    whole = Parser().feed(raw)
    assert [tuple(event) for event in whole] == [("progress", "ö\nb", "1"), ("message", "", "2"), ("message", "c", "2")]
    for cut in range(len(raw)):
        parser = Parser()
        assert parser.feed(raw[:cut]) + parser.feed(raw[cut:]) == whole
    parser = Parser()
    assert [event for byte in raw for event in parser.feed(bytes([byte]))] == whole


def test_ids_that_name_another_path_are_refused() -> None:
    with vydra.Vydra(**options()) as client:
        for wrong in ("", ".", ".."):
            with pytest.raises(vydra.ConfigurationError, match="is no id"):
                client.jobs.get(wrong)
        with pytest.raises(vydra.ConfigurationError, match="is no id"):
            client.models.run("../jobs", {})


def test_both_clients_have_the_same_names() -> None:
    def public(value: Any) -> set[str]:
        return {name for name in dir(value) if not name.startswith("_")}

    one, other = vydra.Vydra(**options()), vydra.AsyncVydra(**options())
    assert public(one) == public(other)
    for name in ("generate", "jobs", "models", "keys", "assets", "webhooks"):
        assert public(getattr(one, name)) == public(getattr(other, name))

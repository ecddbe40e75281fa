"""A server that answers as it is told, and a clock that waits for nobody."""

from __future__ import annotations

import base64
import email.message
import email.parser
import email.utils
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import parse_qsl, urlsplit

from vydra import Clock

KEY = "KEY"


class FakeClock(Clock):
    """Goes on only when somebody sleeps, or a server says so."""

    def __init__(self, now: float = 1767225600.0, random: float = 0.5) -> None:
        self.start = now
        self.passed = 0.0
        self.share = random
        self.waits: list[float] = []

    def now(self) -> float:
        return self.start + self.passed

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def random(self) -> float:
        return self.share

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@dataclass
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def read_request(connection: socket.socket) -> Optional[Received]:
    """One request, or None where the connection ended before."""
    file = connection.makefile("rb")
    line = file.readline().decode("latin-1")
    if not line:
        return None
    method, target, _ = line.split(" ")
    headers: dict[str, str] = {}
    while (raw := file.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = raw.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        file.readline()
    else:
        body = file.read(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body)


def reset(connection: socket.socket) -> None:
    """Ends a connection as a crash does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class ScriptedServer:
    """Answers with exchanges in their order, and remembers what was wrong."""

    def __init__(self, exchanges: list[dict[str, Any]], clock: FakeClock) -> None:
        self.exchanges = exchanges
        self.clock = clock
        self.wrong: list[str] = []
        self.requests: list[Received] = []
        self.same: dict[str, str] = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                received = read_request(connection)
                if received is None:
                    return
                if received.method == "STOP":
                    return
                index = len(self.requests)
                self.requests.append(received)
                if index >= len(self.exchanges):
                    self.wrong.append(f"one request too many: {received.method} {received.target}")
                    connection.sendall(b"HTTP/1.1 418 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    continue
                exchange = self.exchanges[index]
                self._compare(index, exchange["expect"], received)
                self._answer(connection, exchange["answer"])

    def _compare(self, index: int, expect: dict[str, Any], received: Received) -> None:
        def differ(what: str, wanted: object, got: object) -> None:
            if wanted != got:
                self.wrong.append(f"exchange {index}: {what} should be {wanted!r} and is {got!r}")

        parts = urlsplit(received.target)
        if "method" in expect:
            differ("method", expect["method"], received.method)
        if "path" in expect:
            differ("path", expect["path"], parts.path)
        if "query" in expect:
            differ("query", expect["query"], dict(parse_qsl(parts.query, keep_blank_values=True)))
        for name, wanted in expect.get("headers", {}).items():
            got = received.headers.get(name)
            if wanted == "$same":
                differ(name, self.same.setdefault(name, got or "something"), got)
            else:
                differ(name, wanted, got)
        if "json" in expect:
            differ("body", expect["json"], json.loads(received.body) if received.body else None)
        if "multipart" in expect:
            wanted = expect["multipart"]
            head = f"content-type: {received.headers.get('content-type')}\r\n\r\n".encode()
            message = email.parser.BytesParser().parsebytes(head + received.body)
            parts_ = message.get_payload()
            assert isinstance(parts_, list)
            (part,) = parts_
            assert isinstance(part, email.message.Message)
            differ("name", wanted["name"], part.get_param("name", header="content-disposition"))
            differ("filename", wanted["filename"], part.get_filename())
            differ("content", base64.b64decode(wanted["base64"]), part.get_payload(decode=True))

    def _answer(self, connection: socket.socket, answer: dict[str, Any]) -> None:
        self.clock.passed += answer.get("takes", 0)
        if answer.get("fault") == "reset":
            return reset(connection)
        if answer.get("fault") == "hang":
            connection.recv(1)
            return
        headers = {name.lower(): value for name, value in answer.get("headers", {}).items()}
        if "json" in answer:
            body = json.dumps(answer["json"], ensure_ascii=False).encode()
            headers.setdefault("content-type", "application/json")
        elif "base64" in answer:
            body = base64.b64decode(answer["base64"])
        else:
            body = answer.get("events", answer.get("text", "")).encode()
        # An event stream has no length: it ends with its connection.
        if "events" not in answer and answer["status"] != 204:
            headers["content-length"] = str(len(body))
        if answer.get("fault") == "half":
            body = body[: len(body) // 2]
        head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "connection": "close"}.items())
        connection.sendall(f"HTTP/1.1 {answer['status']} Status\r\n{head}\r\n".encode() + body)

    def close(self) -> None:
        with socket.create_connection(self.listener.getsockname()) as connection:
            connection.sendall(b"STOP / HTTP/1.1\r\n\r\n")
        self.thread.join()
        self.listener.close()


@contextmanager
def scripted(exchanges: list[dict[str, Any]], clock: FakeClock) -> Iterator[ScriptedServer]:
    server = ScriptedServer(exchanges, clock)
    try:
        yield server
    finally:
        server.close()


def snake(name: str) -> str:
    """A name of the cases, in Python's way."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name)


def date(text: str) -> float:
    return email.utils.parsedate_to_datetime(text).timestamp()

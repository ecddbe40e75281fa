"""The two ways to run the logic: blocking and asynchronous."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn, Optional, TypeVar

import httpx

from ._effects import Answer, Background, Close, Effect, Emit, Open, Program, Read, Request, Sleep, Work
from .errors import ConnectionError, TimeoutError

T = TypeVar("T")


class Clock:
    """Time and chance, so that tests can have their own."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since whenever."""
        return time.monotonic()

    def random(self) -> float:
        """A share, from 0 to 1."""
        return random.random()

    def sleep(self, seconds: float) -> None:
        """Waits, blocking."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Waits, asynchronous."""
        await asyncio.sleep(seconds)


def _arguments(effect: Open) -> dict[str, Any]:
    """A request for httpx. With no time of its own for a step, the total bounds it."""
    request = effect.request
    step = effect.silence if effect.timeout is None else effect.timeout
    return {
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "content": request.content,
        "files": request.files,
        "timeout": httpx.Timeout(max(step, 0.001)),
    }


def _raise(error: httpx.HTTPError, request: Optional[Request] = None) -> NoReturn:
    # The request holds the key: whoever reports the error with all that hangs on it must not find it.
    if isinstance(error, httpx.RequestError):
        error.request = httpx.Request(request.method, request.url) if request else httpx.Request("GET", "http://-")
    kind = TimeoutError if isinstance(error, httpx.TimeoutException) else ConnectionError
    raise kind(str(error) or type(error).__name__) from error


class SyncIO:
    """Runs programs, blocking."""

    def __init__(self, transport: Optional[httpx.BaseTransport], clock: Clock) -> None:
        self._http = httpx.Client(transport=transport)
        self._clock = clock
        self._background: list[threading.Thread] = []

    def run(self, program: Program[T]) -> T:
        """Runs a program to its end."""
        result: Any = None
        error: Optional[BaseException] = None
        while True:
            try:
                effect = program.send(result) if error is None else program.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            result = error = None
            try:
                result = self._perform(effect)
            except BaseException as raised:
                error = raised

    def iterate(self, program: Program[None]) -> Iterator[Any]:
        """Runs a program, and gives what it emits."""
        result: Any = None
        error: Optional[BaseException] = None
        while True:
            try:
                effect = program.send(result) if error is None else program.throw(error)
            except StopIteration:
                return
            result = error = None
            try:
                if isinstance(effect, Emit):
                    yield effect.value
                else:
                    result = self._perform(effect)
            except BaseException as raised:
                error = raised

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Open):
            try:
                request = self._http.build_request(**_arguments(effect))
                response = self._http.send(request, stream=True, follow_redirects=effect.request.redirects)
            except httpx.HTTPError as error:
                _raise(error, effect.request)
            return Answer(response.status_code, response.headers, (response, response.iter_bytes()))
        if isinstance(effect, Read):
            try:
                return next(effect.answer.source[1], b"")
            except httpx.HTTPError as error:
                _raise(error)
        if isinstance(effect, Close):
            return effect.answer.source[0].close()
        if isinstance(effect, Sleep):
            return self._clock.sleep(effect.seconds)
        if isinstance(effect, Work):
            return effect.run()
        if isinstance(effect, Background):
            thread = threading.Thread(target=self._quietly, args=(effect.program,))
            self._background.append(thread)
            thread.start()
            return None
        raise AssertionError(effect)

    def _quietly(self, program: Program[Any]) -> None:
        try:
            self.run(program)
        except Exception:
            return

    def close(self) -> None:
        """Waits for what runs in the background, and closes the connections."""
        for thread in self._background:
            thread.join()
        self._http.close()


class AsyncIO:
    """Runs programs on asyncio."""

    def __init__(self, transport: Optional[httpx.AsyncBaseTransport], clock: Clock) -> None:
        self._http = httpx.AsyncClient(transport=transport)
        self._clock = clock
        self._background: set[asyncio.Task[None]] = set()

    async def run(self, program: Program[T]) -> T:
        """Runs a program to its end."""
        result: Any = None
        error: Optional[BaseException] = None
        while True:
            try:
                effect = program.send(result) if error is None else program.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            result = error = None
            try:
                result = await self._perform(effect)
            except BaseException as raised:
                error = raised

    async def iterate(self, program: Program[None]) -> AsyncIterator[Any]:
        """Runs a program, and gives what it emits."""
        result: Any = None
        error: Optional[BaseException] = None
        while True:
            try:
                effect = program.send(result) if error is None else program.throw(error)
            except StopIteration:
                return
            result = error = None
            try:
                if isinstance(effect, Emit):
                    yield effect.value
                else:
                    result = await self._perform(effect)
            except BaseException as raised:
                error = raised

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Open):
            try:
                request = self._http.build_request(**_arguments(effect))
                response = await asyncio.wait_for(
                    self._http.send(request, stream=True, follow_redirects=effect.request.redirects), effect.timeout
                )
            except httpx.HTTPError as error:
                _raise(error, effect.request)
            except asyncio.TimeoutError:
                raise TimeoutError("no answer in time") from None
            return Answer(response.status_code, response.headers, (response, response.aiter_bytes()))
        if isinstance(effect, Read):
            try:
                return await asyncio.wait_for(effect.answer.source[1].__anext__(), effect.timeout)
            except StopAsyncIteration:
                return b""
            except httpx.HTTPError as error:
                _raise(error)
            except asyncio.TimeoutError:
                raise TimeoutError("no whole answer in time") from None
        if isinstance(effect, Close):
            return await effect.answer.source[0].aclose()
        if isinstance(effect, Sleep):
            return await self._clock.sleep_async(effect.seconds)
        if isinstance(effect, Work):
            return await asyncio.to_thread(effect.run)
        if isinstance(effect, Background):
            task = asyncio.get_running_loop().create_task(self._quietly(effect.program))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            return None
        raise AssertionError(effect)

    async def _quietly(self, program: Program[Any]) -> None:
        try:
            await self.run(program)
        except Exception:
            return

    async def close(self) -> None:
        """Waits for what runs in the background, and closes the connections."""
        await asyncio.gather(*self._background)
        await self._http.aclose()

"""What the logic asks of the world.

The logic is written once, as generators that yield one of these and get its result; `_io` runs them, blocking or
asynchronous.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, TypeVar, Union

T = TypeVar("T")


@dataclass
class Request:
    """One request, which may be sent several times."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    content: Optional[bytes] = None
    files: Optional[Mapping[str, Any]] = None
    redirects: bool = False
    """Whether redirects are followed: only where no key is sent."""


@dataclass
class Answer:
    """An answer whose body has not been read yet."""

    status: int
    headers: Mapping[str, str]
    source: Any
    """What the transport reads the body from."""


@dataclass
class Open:
    """Sends a request. `timeout` bounds it all, `silence` each step; gives an `Answer`."""

    request: Request
    timeout: Optional[float]
    silence: float


@dataclass
class Read:
    """Reads on; gives bytes, empty at the end."""

    answer: Answer
    timeout: Optional[float]


@dataclass
class Close:
    """Lets go of an answer."""

    answer: Answer


@dataclass
class Sleep:
    """Waits."""

    seconds: float


@dataclass
class Work:
    """Runs what may block, such as writing to a file; gives its result."""

    run: Callable[[], Any]


@dataclass
class Background:
    """Runs another program for which nobody waits."""

    program: Program[Any]


@dataclass
class Emit:
    """Hands a value to whoever iterates."""

    value: Any


Effect = Union[Open, Read, Close, Sleep, Work, Background, Emit]
Program = Generator[Effect, Any, T]

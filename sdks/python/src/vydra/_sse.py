"""Server-sent events, as the HTML standard parses them."""

from __future__ import annotations

import codecs
from typing import NamedTuple, Optional


class Event(NamedTuple):
    """One event of a stream."""

    event: str
    data: str
    id: Optional[str]


class Parser:
    """Takes the bytes of a stream as they come, and gives its events."""

    def __init__(self) -> None:
        # The standard begins with a byte order mark that may be there.
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._rest = ""
        self._after_cr = False
        self._event = ""
        self._data: list[str] = []
        self._id: Optional[str] = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete with this chunk."""
        text = self._decode(chunk)
        # A CR ends its line at once; the LF that may come with the next chunk is none of its own.
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
            self._after_cr = False
        if text:
            self._after_cr = text.endswith("\r")
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: str) -> Optional[Event]:
        if not line:
            event, data = self._event or "message", self._data
            self._event, self._data = "", []
            return Event(event, "\n".join(data), self._id) if data else None
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

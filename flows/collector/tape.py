"""A recording while it is made: what came in, a line of JSON each, so that `movers replay` can tell it again.

A line has both clocks in microseconds, the connection, its wire, and the frame to the letter: as text, or in base64 where
it is none. Opened and lost connections have lines too. Lines are kept for half a second, then compressed as a gzip member
of its own and written at once: a kill loses what is kept, and no more.
"""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from flows.collector.journal import Kind

EVERY: Final = 0.5
"""Seconds for which lines are kept."""

LEVEL: Final = 3  # of gzip: fast enough for a venue's busiest minute

_EVENTS: Final = {Kind.OPENED: "opened", Kind.CLOSED: "closed", Kind.ASKED: "asked"}
_encode: Final = msgspec.json.encode


class Tape:
    """A file of lines, made new; raises `OSError` where it is there, or cannot be written. As an intake's recorder,
    it takes what came in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.waiting = 0  # bytes that are not on their way to the disk yet
        self.written = 0  # bytes on disk
        self._lines: list[bytes] = []
        self._file = path.open("xb")

    def append(self, kind: int, name: str, received: int, monotonic: int, payload: bytes = b"") -> int:
        """Take what an intake was told; ticks and ends of segments are not kept."""
        number, self.number = self.number, self.number + 1
        connection, _, wire = name.rpartition(" ")
        head: dict[str, Any] = {"received_us": received, "monotonic_us": monotonic, "connection": connection}
        if kind == Kind.FRAME:
            self.line(head | {"wire": wire} | _frame(payload))
        elif kind in _EVENTS:
            self.line(head | ({"wire": wire} if wire else {}) | {"event": _EVENTS[Kind(kind)]} | _told(payload))
        return number

    def cut(self) -> None:
        """A tape has no segments."""

    def line(self, value: dict[str, Any]) -> None:
        """Take a line."""
        line = _encode(value)
        self._lines.append(line)
        self.waiting += len(line)

    async def run(self) -> None:
        """Write, again and again, until cancelled. Raises `OSError`."""
        while True:
            await asyncio.sleep(EVERY)
            await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """Write what is kept."""
        lines, self._lines = self._lines, []
        if lines:
            member = gzip.compress(b"\n".join(lines) + b"\n", LEVEL, mtime=0)
            self._file.write(member)
            self._file.flush()
            self.written += len(member)
            self.waiting -= sum(map(len, lines))

    def close(self) -> None:
        """Write the rest, and end."""
        try:
            self.flush()
        finally:
            self._file.close()


def _frame(payload: bytes) -> dict[str, Any]:
    try:
        return {"frame": payload.decode()}
    except UnicodeDecodeError:
        return {"frame_base64": payload}


def _told(payload: bytes) -> dict[str, Any]:
    """What the journal says of an event: why a connection was lost, how many markets are asked for."""
    return dict(json.loads(payload)) if payload else {}

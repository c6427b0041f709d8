"""A recording while it is made: what came in, a line of JSON each, so that `movers replay` can tell it again.

A line has both clocks in microseconds, the connection, its wire, and the frame to the letter: as text, or in base64
where it is none. Opened and lost connections have lines too. Lines are kept for half a second, then compressed as a
gzip member of its own and written at once: a kill loses what is kept, and no more.
"""

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from flows.collector.journal import Kind
from flows.venues.base import Wire

EVERY: Final = 0.5
"""Seconds for which lines are kept."""

LEVEL: Final = 3  # of gzip: fast enough for a venue's busiest minute

_EVENTS: Final = {Kind.OPENED: "opened", Kind.CLOSED: "closed", Kind.ASKED: "asked"}
_encode: Final = msgspec.json.encode


class Tape:
    """A file of lines, made new; as an intake's recorder it takes what came in.

    Raises `OSError` where the file is there already, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.waiting = 0  # bytes that are not on their way to the disk yet
        self.written = 0  # bytes on disk
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
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
            lines = self._take()
            await asyncio.to_thread(self._write, lines)

    def close(self) -> None:
        """Write the rest, and end. Raises `OSError`."""
        try:
            self._write(self._take())
        finally:
            self._file.close()

    def _take(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        self.waiting -= sum(map(len, lines))
        return lines

    def _write(self, lines: list[bytes]) -> None:
        with self._lock:  # one that was cancelled may still be writing
            if lines:
                member = gzip.compress(b"\n".join(lines) + b"\n", LEVEL, mtime=0)
                self._file.write(member)
                self._file.flush()
                self.written += len(member)


def lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a compressed tape, to its end, or to where a kill tore it.

    Raises `EOFError` where whole parts follow a broken one, `zlib.error` on damage.
    """
    with path.open("rb") as file:
        start, held, inflate = 0, b"", zlib.decompressobj(_GZIP)
        while data := file.read(1 << 16):
            while data:
                *whole, held = (held + inflate.decompress(data)).split(b"\n")
                yield from whole
                data = inflate.unused_data
                if inflate.eof:
                    start, inflate = file.tell() - len(data), zlib.decompressobj(_GZIP)
        file.seek(start + 1)
        if _MEMBER in file.read():
            raise EOFError("a part in the middle is damaged")


class Line(msgspec.Struct, gc=False):
    """What is read of a line."""

    received_us: int
    connection: str
    wire: str = ""
    event: str = ""
    frame: str | None = None
    frame_base64: bytes | None = None


LINE: Final = msgspec.json.Decoder(Line)


def told(lines: Iterable[Line]) -> Iterator[tuple[int, str, Wire, bytes | None]]:
    """Time in microseconds, connection, wire and payload of each frame; of an opened connection without payload."""
    for line in lines:
        payload = line.frame_base64 if line.frame is None else line.frame.encode()
        if payload is not None or line.event == _EVENTS[Kind.OPENED]:
            yield line.received_us, line.connection, Wire(line.wire), payload


_GZIP: Final = 31  # what zlib calls a gzip member
_MEMBER: Final = gzip.compress(b"", LEVEL, mtime=0)[:8]
"""How each of our members begins."""


def _frame(payload: bytes) -> dict[str, Any]:
    try:
        return {"frame": payload.decode()}
    except UnicodeDecodeError:
        return {"frame_base64": payload}


def _told(payload: bytes) -> dict[str, Any]:
    """What the journal says of an event: why a connection was lost, how many markets are asked for."""
    return dict(json.loads(payload)) if payload else {}

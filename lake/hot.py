"""Rows of segments that are not published yet, for other processes on this machine to read; a cache, never the truth.

One Arrow IPC stream a table, venue and segment. Each batch says in its metadata which `seq`s it spans, the day of its
segment, and the CRC32 of its bytes, for Arrow itself checks nothing; a reader takes whole and true batches, stops at
the first that is not, and comes back to it later. What a published file covers is not read here (`lake.parts`), and
once all files of a segment are published its streams are removed. All of it can be made again from the write-ahead log.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple
from zlib import crc32

import polars as pl
import pyarrow as pa

from lake import layout
from lake.layout import Life
from lake.schema import Table


class Hot:
    """What one life writes; not for two threads at once."""

    def __init__(self, local: Path, life: Life) -> None:
        self._local = local
        self._life = life
        self._open: dict[tuple[int, str, str], tuple[pa.OSFile, Any]] = {}

    def append(self, table: Table, venue: str, first_seq: int, day: date, frame: pl.DataFrame) -> None:
        """Add rows of the segment that began with `first_seq` on `day`. Raises OSError."""
        place = (first_seq, table.name, venue)
        batches = _arrow(frame)
        if place not in self._open:
            path = self._local / layout.hot_path(table.name, venue, self._life, first_seq)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = pa.OSFile(str(path), "wb")
            self._open[place] = file, pa.ipc.new_stream(file, batches[0].schema)
        for batch in batches:
            told = {"day": day.isoformat(), "crc": str(crc32(batch.serialize()))}
            self._open[place][1].write_batch(batch, custom_metadata=told)

    def remove(self, first_seq: int) -> None:
        """The segment is published: nothing of it is read here any more."""
        for place in [place for place in self._open if place[0] == first_seq]:
            file, _ = self._open.pop(place)
            file.close()
            _, name, venue = place
            with suppress(FileNotFoundError):
                (self._local / layout.hot_path(name, venue, self._life, first_seq)).unlink()


def remove(local: Path, life: Life, first_seq: int | None = None) -> None:
    """Remove the streams of a segment of another life, or of all its segments."""
    for file in _files(local, None, None):
        if file.life == life and first_seq in (None, file.first_seq):
            file.path.unlink(missing_ok=True)


def lives(local: Path) -> set[Life]:
    """The lives that have streams there."""
    return {file.life for file in _files(local, None, None)}


class Rows(NamedTuple):
    """What a stream holds: rows with the columns of a scan, of a segment that began with `first_seq`."""

    life: Life
    first_seq: int
    rows: pl.DataFrame


def read(local: Path, table: Table, venues: Collection[str] | None = None) -> list[Rows]:
    """The streams of a table; those that are not there any more, or hold nothing true, are left out."""
    found = []
    for file in _files(local, table, venues):
        rows = _READERS.rows(file, table)
        if rows is not None and not rows.is_empty():
            found.append(Rows(file.life, file.first_seq, rows))
    return found


class _File(NamedTuple):
    path: Path
    venue: str
    life: Life
    first_seq: int


@dataclass(slots=True)
class _Reading:
    """How far a stream was read."""

    inode: int
    head: bytes = b""  # the schema's bytes, before the first batch
    offset: int = 0  # of the next batch
    frames: list[pl.DataFrame] = field(default_factory=list)


class _Readers:
    """Streams grow at their ends, so what was read once is kept."""

    def __init__(self) -> None:
        self._known: dict[Path, _Reading] = {}
        self._lock = Lock()

    def rows(self, file: _File, table: Table) -> pl.DataFrame | None:
        """All true rows of the stream so far; None if it is gone."""
        with self._lock:
            try:
                with file.path.open("rb") as stream:
                    known = self._of(file.path, os.fstat(stream.fileno()).st_ino)
                    stream.seek(known.offset)
                    data = stream.read()
            except (FileNotFoundError, NotADirectoryError):
                self._known.pop(file.path, None)
                return None
            _read_on(known, data, file.venue, table)
            if len(known.frames) > 1:
                known.frames = [pl.concat(known.frames)]
            return known.frames[0] if known.frames else None

    def _of(self, path: Path, inode: int) -> _Reading:
        known = self._known.get(path)
        if known is None or known.inode != inode:
            for gone in [other for other in self._known if not other.exists()]:
                del self._known[gone]
            known = self._known[path] = _Reading(inode)
        return known


_READERS: Final = _Readers()


def _read_on(known: _Reading, data: bytes, venue: str, table: Table) -> None:
    """Take the whole batches of `data`, which begins at `known.offset`."""
    source = pa.BufferReader(known.head + data)
    try:
        reader = pa.ipc.open_stream(source)
        if not known.head:
            known.head = data[: source.tell()]
            known.offset, data = len(known.head), data[source.tell() :]
        start = known.offset - len(known.head)
        while True:
            batch, told = reader.read_next_batch_with_custom_metadata()
            if int(told[b"crc"]) != crc32(batch.serialize()):
                return
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)
            day = date.fromisoformat(told[b"day"].decode())
            partition = {"venue": pl.lit(venue), "date": pl.lit(day)}
            known.frames.append(frame.with_columns(**partition).select(*table.schema))
            known.offset = start + source.tell()
    except (pa.ArrowInvalid, OSError, StopIteration, KeyError, ValueError, pl.exceptions.PolarsError):
        return  # the writer is in the middle of a batch, or it is no stream: what is true was taken


def _arrow(frame: pl.DataFrame) -> list[pa.RecordBatch]:
    table: pa.Table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
    return batches


def _files(local: Path, table: Table | None, venues: Collection[str] | None) -> Iterator[_File]:
    root = local / layout.HOT
    for folder in [root / table.name] if table is not None else _listed(root):
        for place in _listed(folder):
            venue = place.name.removeprefix("venue=")
            if venues is not None and venue not in venues:
                continue
            for path in _listed(place):
                parsed = layout.parse_hot(path.name)
                if parsed is not None:
                    yield _File(path, venue, *parsed)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []

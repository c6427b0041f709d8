"""Closed segments to files, in order, off the event loop; one that cannot be published is kept and tried again."""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

import polars as pl

from flows.collector.connection import is_worth_a_word
from flows.collector.pipeline import Row, Segment
from flows.collector.timing import Timing
from lake.clock import day_of
from lake.errors import LakeError, PublishConflict
from lake.layout import SeqRange
from lake.schema import SEQ_BITS, Table
from lake.store import Store

MOST_ROWS: Final = 500_000
"""Rows waiting to be published; above it nothing more is taken in."""

STEP: Final = 10_000
"""Rows that become a frame at once."""

Frames = dict[tuple[Table, str], pl.DataFrame]
"""Rows of a segment by table and venue."""


def publish(store: Store, segment: Segment, collector: str, digest: str | None = None) -> int:
    """Publish a segment; the rows that were new. Raises `LakeError`."""
    return _write(store, segment, _frames(segment), collector, digest)


def _frames(segment: Segment) -> Frames:
    return {key: _frame(key[0], rows) for key, rows in segment.rows.items()}


def _frame(table: Table, rows: list[Row]) -> pl.DataFrame:
    """In steps: while a column is made, which one call does, nobody else has a turn."""
    if len(rows) <= STEP:
        return table.frame(rows)
    frames = [table.frame(rows[first : first + STEP]) for first in range(0, len(rows), STEP)]
    return pl.concat(frames).sort(*table.order, maintain_order=True)


def _write(store: Store, segment: Segment, frames: Frames, collector: str, digest: str | None = None) -> int:
    span = SeqRange(collector, segment.first_seq >> SEQ_BITS, segment.first_seq, segment.last_seq)
    return store.publish_segment(span, day_of(segment.first_received), segment.frames, frames, digest)


class Sealer:
    """Call it with closed segments; `run` publishes them one after the other."""

    def __init__(
        self, store: Store, collector: str, *, timing: Timing, rng: Random, say: Callable[[str], None]
    ) -> None:
        self._store = store
        self._collector = collector
        self._timing = timing
        self._rng = rng
        self._say = say
        self._waiting: deque[Segment] = deque()
        self._rows = 0
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self.published = self.rows = self.failures = 0
        self.seen: set[tuple[str, str]] = set()  # table and venue of which rows are in the lake

    def __call__(self, segment: Segment) -> None:
        """Take a closed segment."""
        self._waiting.append(segment)
        self._rows += _rows(segment)
        self._done.clear()
        self._wake.set()

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more should come."""
        return self._rows >= MOST_ROWS

    @property
    def waiting(self) -> int:
        """Segments that are not in the lake yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Publish for ever. Raises `PublishConflict`: somebody else writes under this collector's name."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._publish(self._waiting[0])
                self._rows -= _rows(self._waiting.popleft())
            self._done.set()

    async def finish(self) -> None:
        """Wait until everything is in the lake."""
        await self._done.wait()

    async def _publish(self, segment: Segment) -> None:
        """Rows to frames once, for what fails there fails always; then write, until it is written."""
        frames, failures = await asyncio.to_thread(_frames, segment), 0
        while True:
            try:
                self.rows += await asyncio.to_thread(_write, self._store, segment, frames, self._collector)
                break
            except PublishConflict:
                raise
            except (LakeError, OSError) as exc:
                failures += 1
                self.failures += 1
                wait = self._timing.delay(failures, self._rng)
                if is_worth_a_word(failures):
                    self._say(f"lake: {_line(exc)}; {self._rows:,} rows are kept until it can be written")
                await asyncio.sleep(wait)
        if failures:
            self._say("lake: can be written again; nothing was lost")
        self.published += 1
        self.seen.update((table.name, venue) for table, venue in segment.rows)


def _rows(segment: Segment) -> int:
    return sum(map(len, segment.rows.values()))


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300] or type(exc).__name__

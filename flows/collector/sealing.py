"""Segments to files, off the event loop: rows of the open one into hot streams, closed ones published in order.

A segment is published once its frames are on disk; one that cannot be published waits and is tried again. Where many
wait, as while an object store is away, their rows are dropped from memory and made again from the write-ahead log when
it is their turn. The log's files of a segment go when it is in the lake, and what is known at its end is on disk.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Final

import polars as pl

from flows.collector import raw
from flows.collector.commits import Commits
from flows.collector.connection import is_worth_a_word
from flows.collector.journal import Item, number_of
from flows.collector.segments import Row, Segment
from flows.collector.timing import Timing
from lake import wal
from lake.clock import day_of
from lake.errors import LakeError, PublishConflict
from lake.hot import Hot
from lake.layout import Life, SeqRange
from lake.schema import RAW, SEQ_BITS, Table
from lake.store import Store

LOG: Final = logging.getLogger("movers.collector")

MOST_ROWS: Final = 500_000
"""Rows in memory that wait to be published; further segments wait in the log alone."""

STEP: Final = 10_000
"""Rows that become a frame at once."""

Frames = dict[tuple[Table, str], pl.DataFrame]
"""Rows of a segment by table and venue."""


def publish(store: Store, segment: Segment, collector: str, digest: str | None = None) -> int:
    """Publish a segment; the rows that were new. Raises `LakeError`."""
    return write(store, segment, frames_of(segment, collector), collector, digest)


def write(
    store: Store, segment: Segment, frames: Frames, collector: str, digest: str | None = None, *, keep: bool = False
) -> int:
    """Publish these frames as the segment's; with `keep`, a file of its that is there already stands as it is."""
    span = span_of(segment, collector)
    ends = segment.first_received, segment.last_received
    day = day_of(segment.first_received)
    return store.publish_segment(span, day, segment.frames, frames, digest, ends=ends, keep=keep)


def span_of(segment: Segment, collector: str) -> SeqRange:
    """The segment's name in the lake."""
    return SeqRange(collector, segment.first_seq >> SEQ_BITS, segment.first_seq, segment.last_seq)


def frames_of(segment: Segment, collector: str = "", boot_id: str = "") -> Frames:
    """All rows of a segment, those of table `raw` with them, which say whose they are."""
    make(segment, drain(segment), collector, boot_id)
    return {
        key: frames[0] if len(frames) == 1 else pl.concat(frames).sort(*key[0].order, maintain_order=True)
        for key, frames in segment.made.items()
    }


Drained = tuple[dict[tuple[Table, str], list[Row]], list[Item]]
"""Rows and items of a segment that are no frames yet."""


def drain(segment: Segment) -> Drained:
    """What came into the segment since the last time; for the thread alone that feeds it."""
    found = segment.rows, segment.items
    segment.rows, segment.items = {}, []
    return found


def put_back(segment: Segment, drained: Drained) -> None:
    """Undo `drain`, whatever came in meanwhile."""
    rows, items = drained
    for key, later in segment.rows.items():
        rows.setdefault(key, []).extend(later)
    segment.rows, segment.items = rows, items + segment.items


def make(segment: Segment, drained: Drained, collector: str, boot_id: str) -> Frames:
    """Frames of these, which are kept in `segment.made` too."""
    rows, items = drained
    found = {key: _frame(key[0], each) for key, each in rows.items()}
    found |= {(RAW, venue): frame for venue, frame in raw.rows(items, collector, boot_id, segment.known).items()}
    for key, frame in found.items():
        segment.made.setdefault(key, []).append(frame)
    return found


def _frame(table: Table, rows: list[Row]) -> pl.DataFrame:
    """In steps: while a column is made, which one call does, nobody else has a turn."""
    if len(rows) <= STEP:
        return table.frame(rows)
    frames = [table.frame(rows[first : first + STEP]) for first in range(0, len(rows), STEP)]
    return pl.concat(frames).sort(*table.order, maintain_order=True)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A closed segment of which only the log knows the rows."""

    first_seq: int
    last_seq: int


Rebuild = Callable[[Waiting], Segment]
"""A segment anew from the log. Raises `LakeError`."""


class Sealer:
    """Call it with closed segments; `run` publishes them one after the other, `show` shows what came in meanwhile."""

    def __init__(
        self,
        store: Store,
        life: Life,
        commits: Commits,
        rebuild: Rebuild,
        *,
        boot_id: str,
        timing: Timing,
        rng: Random,
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._life = life
        self._commits = commits
        self._rebuild = rebuild
        self._boot_id = boot_id
        self._timing = timing
        self._rng = rng
        self._say = say
        self._hot = Hot(store.local, life)
        self._hot_fails = False
        self._showing = asyncio.Lock()
        self._waiting: deque[Segment | Waiting] = deque()
        self._unshown: list[Segment] = []  # closed ones
        self._rows = 0
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._known_until = -1  # the `seq` at whose end what is known is on disk
        self._is_kept = asyncio.Event()
        self._sealed_until = -1  # the `seq` up to which everything is in the lake
        self._is_sealed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "hot")
        self.published = self.rows = self.failures = 0
        self.seen: set[tuple[str, str]] = set()  # table and venue of which rows are in the lake

    def __call__(self, segment: Segment) -> None:
        """Take a closed segment."""
        self._waiting.append(segment)
        self._unshown.append(segment)
        self._rows += _rows(segment)
        self._done.clear()
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Segments that are not in the lake yet."""
        return len(self._waiting)

    async def show(self, current: Segment | None) -> None:
        """Show the rows that came since the last time to other processes, once their frames are on disk."""
        async with self._showing:
            closed, self._unshown = self._unshown, []
            for segment in [*closed, *([] if current is None else [current])]:
                await self._show(segment)
            for segment in closed:
                if await asyncio.to_thread(self._keep_known, segment):
                    self._known_until = segment.last_seq
                    self._is_kept.set()
                self._spare(segment)

    async def _show(self, segment: Segment) -> None:
        if not segment.rows and not segment.items:
            return
        last, drained, loop = segment.last_seq, drain(segment), asyncio.get_running_loop()
        whose = self._life.collector, self._boot_id
        try:
            found = await loop.run_in_executor(self._thread, make, segment, drained, *whose)
        except Exception:  # publishing meets the fault again, and ends the collector before its log is gone
            put_back(segment, drained)
            raise
        await self._commits.reached(number_of(last, self._life.epoch))
        await loop.run_in_executor(self._thread, self._append, segment, found)

    def _spare(self, segment: Segment) -> None:
        """Where too many rows wait, a segment that is behind others waits in the log alone."""
        if self._rows > MOST_ROWS and segment in self._waiting and segment is not self._waiting[0]:
            self._waiting[self._waiting.index(segment)] = Waiting(segment.first_seq, segment.last_seq)
            self._rows -= _rows(segment)

    async def run(self) -> None:
        """Publish for ever. Raises `PublishConflict`: somebody else writes under this collector's name."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._publish(self._waiting[0])
                first = self._waiting.popleft()
                self._rows -= 0 if isinstance(first, Waiting) else _rows(first)
                self._sealed_until = first.last_seq
                self._is_sealed.set()
            self._done.set()

    async def finish(self) -> None:
        """Wait until everything is in the lake."""
        await self._done.wait()

    async def kept(self, seq: int) -> None:
        """Wait until what is known at the end of that `seq` is on disk."""
        while self._known_until < seq:
            self._is_kept.clear()
            await self._is_kept.wait()

    async def sealed(self, seq: int) -> None:
        """Wait until everything up to that `seq`, with which a segment ends, is in the lake."""
        while self._sealed_until < seq:
            self._is_sealed.clear()
            await self._is_sealed.wait()

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _append(self, segment: Segment, found: Frames) -> None:
        """Into the hot streams; a cache, so what cannot be written is not seen until it is published."""
        try:
            for (table, venue), frame in found.items():
                if table is not RAW:
                    self._hot.append(table, venue, segment.first_seq, day_of(segment.first_received), frame)
            self._hot_fails = False
        except OSError as exc:
            if not self._hot_fails:
                self._say(f"hot rows: {(exc.strerror or str(exc)).lower()}; they are seen once they are sealed")
            self._hot_fails = True

    async def _publish(self, waiting: Segment | Waiting) -> None:
        """Rows to frames once, for what fails there fails always; then write, until it is written."""
        if isinstance(waiting, Waiting):
            segment = await asyncio.to_thread(self._rebuild, waiting)
        else:
            segment = waiting
            await self.show(None)
            await self._commits.reached(number_of(segment.last_seq, self._life.epoch))
        loop, whose = asyncio.get_running_loop(), (self._life.collector, self._boot_id)
        frames, failures = await loop.run_in_executor(self._thread, frames_of, segment, *whose), 0  # after all `make`
        while True:
            try:
                self.rows += await asyncio.to_thread(write, self._store, segment, frames, self._life.collector)
                await asyncio.to_thread(self._forget, segment)
                break
            except PublishConflict:
                raise
            except (LakeError, OSError) as exc:
                failures += 1
                self.failures += 1
                wait = self._timing.delay(failures, self._rng)
                if is_worth_a_word(failures):
                    self._say(f"lake: {_line(exc)}; {len(self._waiting):,} segments are kept until it can be written")
                await asyncio.sleep(wait)
        if failures:
            self._say("lake: can be written again; nothing was lost")
        await loop.run_in_executor(self._thread, self._hot.remove, segment.first_seq)
        self.published += 1
        self.seen.update((table.name, venue) for table, venue in frames if table is not RAW)

    def _keep_known(self, segment: Segment) -> bool:
        """Whether what is known at the segment's end is on disk: then the next one can be made from there."""
        following = number_of(segment.last_seq, self._life.epoch) + 1
        folder = self._commits.log.folder
        if not segment.known or following in wal.states(folder, self._life):
            return bool(segment.known)
        try:
            wal.write_state(folder, self._life, following, segment.known)
        except OSError as exc:
            LOG.warning("log: what is known before record %s: %s", following, exc.strerror)
            return False
        return True

    def _forget(self, segment: Segment) -> None:
        """Let go of what the segment was made from, if the next one can do without."""
        if self._keep_known(segment):
            following = number_of(segment.last_seq, self._life.epoch) + 1
            wal.forget(self._commits.log.folder, self._life, following)


def _rows(segment: Segment) -> int:
    return sum(map(len, segment.rows.values())) + sum(
        frame.height for (table, _), frames in segment.made.items() if table is not RAW for frame in frames
    )


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300] or type(exc).__name__

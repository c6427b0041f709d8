"""What came in goes to the disk, a batch at a time and never on the event loop; who needs it there waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from flows.collector.intake import Intake
from flows.collector.timing import Clock
from lake.errors import LakeUnwritable
from lake.vocab import Gap
from lake.wal import Batch, Log

EVERY: Final = 0.05
"""Seconds between two batches; with the fsync itself a frame is on disk within some 100 ms."""

AGAIN: Final = 1.0  # seconds until what could not be written is tried again
GIVE_UP: Final = 60.0
"""Seconds for which writing may fail, for another reason than a full disk, until the collector ends."""

LOOK: Final = 1.0  # seconds between two looks at the free space


class Commits:
    """Writes a log's batches. `is_low` says whether the disk is down to its reserve: then nothing more is taken in."""

    def __init__(
        self,
        log: Log,
        intake: Intake,
        clock: Clock,
        *,
        say: Callable[[str], None],
        is_low: Callable[[], bool],
        on_commit: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.log = log
        self.durable = -1  # number of the last record that is on disk
        self.slowest = 0.0  # seconds that a commit took
        self._intake = intake
        self._now = clock.monotonic
        self._say = say
        self._is_low = is_low
        self._on_commit = on_commit
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()
        self._kept: Batch | None = None  # one that could not be written yet
        self._failing: float | None = None  # since when
        self._looked = float("-inf")
        self._thread = ThreadPoolExecutor(1, "wal")

    async def run(self) -> None:
        """Commit for ever. Raises `LakeUnwritable` once writing has failed for too long."""
        while True:
            is_good = await self.flush()
            self._look_at_disk()
            self._intake.look()
            await asyncio.sleep(EVERY if is_good else AGAIN)

    async def flush(self) -> bool:
        """Write what is there; whether it is on disk."""
        async with self._writing:
            batch = self._kept or self.log.take()
            if batch is None:
                return True
            began = self._now()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.log.write, batch)
            except LakeUnwritable as exc:
                self._failed(batch, exc)
                return False
            self.slowest = max(self.slowest, self._now() - began)
            self._written(batch)
            return True

    async def reached(self, number: int) -> None:
        """Wait until that record is on disk."""
        if self.durable < number:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((number, waiter))
            await waiter

    def close(self) -> None:
        """Let go of the file and the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self.log.close()

    def _written(self, batch: Batch) -> None:
        self.durable, self._kept = batch.last, None
        self._on_commit(batch.last)
        waiters, self._waiters = self._waiters, []
        for number, waiter in waiters:
            if number > batch.last:
                self._waiters.append((number, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        if self._failing is not None:
            self._failing = None
            self._say("log: can be written again; nothing that was accepted was lost")

    def _failed(self, batch: Batch, exc: LakeUnwritable) -> None:
        self._kept = batch
        if self._failing is None:
            self._failing = self._now()
            self._say(f"log: {exc}")
        elif self._now() - self._failing > GIVE_UP and not self._is_low():
            raise exc

    def _look_at_disk(self) -> None:
        """Nothing more is taken in while the disk is down to its reserve: what is there has room to be written."""
        if self._now() - self._looked < LOOK:
            return
        self._looked = self._now()
        is_low, was_low = self._is_low(), self._intake.halt is not None
        self._intake.halt = Gap.DISK_RESERVE if is_low else None
        if is_low != was_low:
            words = ("has room again", "is down to its reserve; nothing more is taken in until there is room")
            self._say(f"disk: {words[is_low]}")

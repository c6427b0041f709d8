"""What came in goes to disk without holding up whoever receives; a disk that fails, stalls or is full is met."""

import asyncio
import threading
from pathlib import Path

import pytest

from flows.collector import commits
from flows.collector.commits import Commits
from flows.collector.intake import Intake
from flows.collector.timing import Clock
from flows.venues.base import Wire
from lake import wal
from lake.errors import LakeUnwritable
from lake.layout import Life
from lake.vocab import Gap
from tests.flows.collector.venues import until

LIFE = Life("main", 2)


class Bench:
    """A log with its committer; the disk's state is an attribute to set."""

    def __init__(self, folder: Path, *, most: int = 1_000) -> None:
        self.time = 0.0
        self.is_low = False
        self.lines: list[str] = []
        self.committed: list[int] = []
        clock = Clock(wall=lambda: 1_000_000, monotonic=lambda: self.time)
        self.log = wal.Log(folder, LIFE, "boot")
        self.intake = Intake(LIFE.epoch, clock, most, recorder=self.log)
        self.commits = Commits(
            self.log, self.intake, clock, say=self.lines.append, is_low=lambda: self.is_low,
            on_commit=self.committed.append,
        )  # fmt: skip

    def frame(self, size: int = 10) -> None:
        self.intake.frame("c", Wire.KALSHI_SOCKET, b"x" * size)

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


def broken(monkeypatch, reason: OSError) -> None:
    def fsync(handle: int) -> None:
        raise reason

    monkeypatch.setattr(wal.os, "fsync", fsync)


def on_disk(folder: Path) -> list[int]:
    return [record.number for record in wal.read(folder, LIFE, [])]


@pytest.mark.asyncio
async def test_accepted_when_it_is_on_disk(tmp_path):
    """Whoever waits for a record goes on once it is on disk, and is told its number; not before."""
    bench = Bench(tmp_path)
    for _ in range(3):
        bench.frame()
    waiting = asyncio.create_task(bench.commits.reached(2))
    await asyncio.sleep(0)
    assert not waiting.done() and on_disk(tmp_path) == []
    assert await bench.commits.flush()
    await asyncio.wait_for(waiting, 1)
    assert on_disk(tmp_path) == [0, 1, 2] and bench.committed == [2] == [bench.commits.durable]


@pytest.mark.asyncio
async def test_disk_that_fails_for_a_while(tmp_path, monkeypatch):
    """What could not be written is kept, with what comes meanwhile, and is written in order; it is said once."""
    bench = Bench(tmp_path)
    bench.frame()
    with monkeypatch.context() as patch:
        broken(patch, OSError(5, "Input/output error"))
        for _ in range(3):
            assert not await bench.commits.flush()
            bench.frame()
    assert bench.committed == [] and sum("input/output error" in line for line in bench.lines) == 1
    while bench.commits.durable < 3:
        assert await bench.commits.flush()
    assert on_disk(tmp_path) == [0, 1, 2, 3] and bench.said("can be written again")


@pytest.mark.asyncio
async def test_disk_that_fails_for_good(tmp_path, monkeypatch):
    """After a minute of failures the collector ends, for its supervisor to start it anew; a full disk is waited for."""
    bench = Bench(tmp_path)
    bench.frame()
    broken(monkeypatch, OSError(28, "No space left on device"))
    bench.is_low = True
    for _ in range(3):
        bench.time += commits.GIVE_UP
        assert not await bench.commits.flush()
    bench.is_low = False
    with pytest.raises(LakeUnwritable, match="no space left"):
        await bench.commits.flush()


@pytest.mark.asyncio
async def test_reserve(tmp_path, monkeypatch):
    """Down to the reserve nothing more is taken in, what is there is still written; with room again it goes on."""
    monkeypatch.setattr(commits, "EVERY", 0.001)
    bench = Bench(tmp_path)
    running = asyncio.create_task(bench.commits.run())
    bench.is_low, bench.time = True, 10
    bench.frame()
    await until(lambda: bench.intake.halt is Gap.DISK_RESERVE)
    room = asyncio.create_task(bench.intake.room())
    await until(lambda: bench.commits.durable == 0)
    assert bench.intake.is_full and not room.done() and bench.said("down to its reserve")
    bench.is_low, bench.time = False, 20
    await asyncio.wait_for(room, 5)
    assert bench.said("has room again")
    running.cancel()


@pytest.mark.asyncio
async def test_stalled_disk(tmp_path, monkeypatch):
    """While an fsync hangs, frames are taken in until so many bytes wait; then receivers wait, and nothing is lost."""
    bench, begun, free = Bench(tmp_path, most=500), threading.Event(), threading.Event()
    real = wal.os.fsync

    def slow(handle: int) -> None:
        begun.set()
        assert free.wait(10)
        real(handle)

    monkeypatch.setattr(wal.os, "fsync", slow)
    bench.frame()
    flushing = asyncio.create_task(bench.commits.flush())
    await until(begun.is_set)
    count = 1
    while not bench.intake.is_full and count < 20:
        bench.frame(50)
        count += 1
        bench.intake.take()  # the consumer keeps up: it is the disk that is behind
    assert 3 < count < 10 and not flushing.done()
    room = asyncio.create_task(bench.intake.room())
    free.set()
    await asyncio.wait_for(flushing, 10)
    assert await bench.commits.flush()
    bench.intake.look()
    await asyncio.wait_for(room, 5)
    assert on_disk(tmp_path) == list(range(count))

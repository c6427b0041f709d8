"""Rows of a segment become frames, which are shown to others and then published."""

import asyncio
from random import Random
from typing import NamedTuple

import pytest

from flows.collector import sealing
from flows.collector.commits import Commits
from flows.collector.intake import Intake
from flows.collector.pipeline import Pipeline
from flows.collector.replay import adapters
from flows.collector.sealing import Sealer
from flows.collector.segments import Segment
from flows.collector.timing import Clock, Timing
from flows.venues.base import Wire
from lake import wal
from lake.layout import Life
from lake.schema import QUOTES, Table
from lake.store import Store
from lake.vocab import Mode
from tests.flows.collector.venues import until
from tests.flows.feed import frame


def test_many_rows_become_a_frame_in_steps(monkeypatch):
    """However many rows there are, no more than `STEP` are made a frame at once; the frame is the same."""
    rows = [(n % 3, 100 - n, n, 0.4, 0.5, 1.0, 2.0, n, "book") for n in range(20)]

    def made():
        segment = Segment(0, 0, 9, 0)
        segment.rows[QUOTES, "kalshi"] = list(rows)
        return sealing.frames_of(segment)[QUOTES, "kalshi"]

    whole, sizes, frame = made(), [], Table.frame

    def counted(self, rows):
        sizes.append(len(rows))
        return frame(self, rows)

    monkeypatch.setattr(Table, "frame", counted)
    monkeypatch.setattr(sealing, "STEP", 7)
    assert made().equals(whole)
    assert sizes == [7, 7, 6]


class Parts(NamedTuple):
    """A collector's path from a frame to the lake, with one frame in it."""

    store: Store
    commits: Commits
    sealer: Sealer
    pipeline: Pipeline


@pytest.fixture
def parts(tmp_path):
    store, life, now = Store.create(tmp_path / "lake", Mode.SIMULATED), Life("main", 0), 1_790_000_000_000_000
    log = wal.Log(tmp_path / "wal", life, "boot")
    clock = Clock(wall=lambda: now, monotonic=lambda: 1.0)
    intake = Intake(0, clock, recorder=log)
    commits = Commits(log, intake, clock, say=print, is_low=lambda: False)
    sealer = Sealer(
        store, life, commits, lambda waiting: Segment(0, 0, 0, 0),
        boot_id="boot", timing=Timing(), rng=Random(1), say=print,
    )  # fmt: skip
    pipeline = Pipeline(adapters(), sealer, rule=None)
    intake.frame("kalshi", Wire.KALSHI_SOCKET, frame("kalshi/ticker"))
    while (item := intake.take()) is not None:
        pipeline.take(item)
    yield Parts(store, commits, sealer, pipeline)
    sealer.close()
    commits.close()


@pytest.mark.asyncio
async def test_rows_are_shown_when_they_are_on_disk(parts, monkeypatch):
    """Other processes see a row once its frame cannot be lost any more, not before."""
    reached, asked = parts.commits.reached, []

    async def reach(number: int) -> None:
        asked.append(number)
        await reached(number)

    monkeypatch.setattr(parts.commits, "reached", reach)
    showing = asyncio.create_task(parts.sealer.show(parts.pipeline.open))
    await until(lambda: asked or showing.done())
    assert not showing.done() and parts.store.scan(QUOTES).collect().is_empty()
    assert await parts.commits.flush()
    await asyncio.wait_for(showing, 5)
    assert parts.store.scan(QUOTES).collect().height == 1


@pytest.mark.asyncio
async def test_rows_that_make_no_frame_are_kept(parts, monkeypatch):
    """A fault while rows are shown does not take them out of their segment: who publishes it meets the fault too."""
    segment = parts.pipeline.open
    before = {key: list(rows) for key, rows in segment.rows.items()}, list(segment.items)
    monkeypatch.setattr(Table, "frame", lambda self, rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await parts.sealer.show(segment)
    assert (segment.rows, segment.items) == before and (QUOTES, "kalshi") in segment.rows

"""Connections are replaced while they are up: who does it all the time stores what one stores that never does."""

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import polars as pl
import pytest

from flows.collector.service import collect
from flows.collector.timing import Clock, Timing
from lake.clock import from_us
from lake.schema import FEED_HEALTH, GAPS, QUOTES, TRADES, Table
from lake.settings import load
from lake.store import Store
from tests.flows.collector.venues import until
from tests.simulated import simulated

TIMING = Timing(
    first_delay=0.01, longest_delay=0.05, connects_a_minute=6_000, connect_gap=0, tick=0.05, hand_over_within=20,
    segment_least=0.5, segment_most=1, drain_within=20,
)  # fmt: skip
WHAT = {
    QUOTES: ["market_key", "event_time", "bid", "ask", "bid_size", "ask_size"],
    TRADES: ["market_key", "trade_id", "event_time", "price", "size", "taker_side"],
}


class Running:
    """A collector, its lake and what it says."""

    def __init__(self, root: Path, timing: Timing, settings: dict[str, object]) -> None:
        self.config = load(lake_uri=str(root), backfill_hours=0, **settings)
        self.store = Store.create(self.config.lake_root, self.config.collector_mode)
        self.stop, self.lines, self._timing = asyncio.Event(), list[str](), timing

    async def run(self) -> None:
        self.report = await collect(
            self.config, self.store, self.stop, say=self.lines.append, rng=Random(1), timing=self._timing
        )

    def rows(self, table: Table) -> pl.DataFrame:
        return self.store.scan(table).collect()

    def told(self, table: Table, start: int, end: int) -> pl.DataFrame:
        """What it stored of that time, by the venues' clock."""
        is_in = pl.col("event_time").is_between(from_us(start), from_us(end), closed="left")
        return self.rows(table).filter(is_in).select(WHAT[table])


@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [6, pytest.param(120, marks=pytest.mark.soak)])
async def test_rotation_loses_and_doubles_nothing(tmp_path, seconds):
    """Both collectors hear the same venues; the one's connections are replaced every second or two."""
    clock = Clock()
    async with simulated(tmp_path, 60, 1_500) as (_, settings):
        still = Running(tmp_path / "still", TIMING, settings)
        turning = Running(tmp_path / "turning", replace(TIMING, rotate_every=1.5), settings)
        tasks = [asyncio.create_task(one.run()) for one in (still, turning)]
        for one in (still, turning):
            await until(lambda one=one: {*one.rows(QUOTES)["venue"]} == {"polymarket", "kalshi"}, within=20)
        start = clock.wall() + 500_000
        await asyncio.sleep(seconds)
        end = clock.wall() - 500_000
        for one in (still, turning):
            one.stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
    for table, columns in WHAT.items():
        quiet, rotated = (one.told(table, start, end) for one in (still, turning))
        assert rotated.height > (30 if table is QUOTES else 3) * seconds
        for one, other in ((quiet, rotated), (rotated, quiet)):
            alone = one.join(other, columns, "anti", nulls_equal=True)
            assert alone.is_empty(), alone
        assert not rotated.is_duplicated().any()
    assert turning.report.connects >= 2 * (seconds // 3) and still.report.connects == 2
    assert turning.rows(GAPS).filter(pl.col("reason") != "feed_ended").is_empty()
    health = turning.rows(FEED_HEALTH)
    assert health["reconnects"].sum() == 0
    names = {*health["connection"]}
    assert {"polymarket-1", "polymarket-1~", "kalshi-1", "kalshi-1~"} <= names
    assert not [line for line in turning.lines if "could not take the place" in line]

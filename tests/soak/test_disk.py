"""A disk that fills up for real: nothing that was accepted is lost, and collecting goes on when there is room again."""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage

import polars as pl
import pytest

from lake.schema import GAPS
from lake.store import Store
from tests.flows.collector.venues import running
from tests.soak.disks import MIB, Ballast, small
from tests.soak.feeder import Feeder
from tests.soak.kills import Child, Counts, in_lake

SIZE, RESERVE = 96 * MIB, 32 * MIB
RESUMES_WITHIN = 5.0
STOPS_WITHIN = 10.0


@dataclass
class Verdict(Counts):
    """What a run showed."""

    least: int = SIZE  # bytes that were free while the disk was down to its reserve
    resumed: list[float] = field(default_factory=list)  # seconds from room to the first accepted message
    reasons: dict[str, int] = field(default_factory=dict)  # of gaps

    def __str__(self) -> str:
        seconds = ", ".join(f"{each:.1f}" for each in self.resumed)
        return (
            f"{len(self.resumed)} times full, {self.accepted:,} accepted: lost {self.lost}, doubled {self.doubled}, "
            f"invented {self.invented}; accepting again {seconds} s after there was room; at least "
            f"{self.least / MIB:.1f} MiB stayed free at the reserve; gaps {self.reasons}"
        )


async def settled(accepted: set[int], within: float) -> None:
    """Wait until nothing more is accepted for two seconds; fails if it is not so in time."""
    until, count, since = time.monotonic() + within, -1, time.monotonic()
    while time.monotonic() < until:
        if len(accepted) != count:
            count, since = len(accepted), time.monotonic()
        elif time.monotonic() - since >= 2:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"more and more is accepted, {len(accepted):,} so far")


async def hold(ballast: Ballast, free: int) -> None:
    """Take what room there is beyond that, again and again: what the collector seals leaves its log."""
    while True:
        ballast.fill(free)
        await asyncio.sleep(0.02)


async def run(folder: Path, levels: list[int], *, rate: int, pause: float) -> Verdict:
    """Fill the disk until so many bytes are free, wait, and give the room back; once for each of `levels`."""
    verdict, accepted, feeder = Verdict(), set[int](), Feeder(rate)
    with small(folder / "disk", SIZE) as disk:
        ballast = Ballast(disk)
        async with running(feeder):
            given = {"lake_uri": disk / "lake", "disk_reserve_mb": RESERVE / MIB}
            async with Child.living("collect", feeder, folder, accepted, **given) as child:
                for free in levels:
                    await asyncio.sleep(1)
                    holding = asyncio.create_task(hold(ballast, free))
                    await settled(accepted, STOPS_WITHIN)
                    if free:
                        verdict.least = min(verdict.least, disk_usage(disk).free)
                    before = len(accepted)
                    await asyncio.sleep(pause)
                    assert len(accepted) == before and child.is_up, "it ended, or went on, while the disk was full"
                    holding.cancel()
                    await asyncio.gather(holding, return_exceptions=True)
                    ballast.leave()
                    began, number = time.monotonic(), feeder.next  # what was sent before may have waited in memory
                    while len(accepted) == before or max(accepted) < number:
                        await asyncio.sleep(0.01)
                        assert time.monotonic() - began < 60 and child.is_up, "it does not go on"
                    verdict.resumed.append(time.monotonic() - began)
                await asyncio.sleep(3)
                assert await child.end(signal.SIGTERM) == 0
        verdict.hold(accepted, in_lake(disk / "lake"), feeder)
        gaps = Store.open(disk / "lake").scan(GAPS).filter(pl.col("market_key").is_not_null())
        verdict.reasons = dict(gaps.group_by("reason").len().sort("reason").collect().iter_rows())
        assert not list((disk / "lake/wal").glob("*.wal")) and not list((disk / "lake/hot").glob("**/*.arrows"))
    return verdict


def check(verdict: Verdict) -> None:
    assert verdict.faults == (0, 0, 0)
    assert verdict.accepted > 300 and verdict.reasons.get("disk_reserve", 0) > 0
    assert max(verdict.resumed) <= RESUMES_WITHIN


@pytest.mark.soak
@pytest.mark.asyncio
async def test_disk_down_to_its_reserve(tmp_path):
    """Once, for as long as connections wait."""
    verdict = await run(tmp_path, [RESERVE - MIB], rate=300, pause=5.5)
    check(verdict)
    assert verdict.least > RESERVE - 4 * MIB


@pytest.mark.soak
@pytest.mark.asyncio
async def test_full_disk_again_and_again(tmp_path, capsys):
    """At the reserve and to the last byte, by turns, under 2,000 messages a second."""
    verdict = await run(tmp_path, [RESERVE - MIB, 0] * 5, rate=2_000, pause=8)
    with capsys.disabled():
        print(f"\n{SIZE // MIB} MiB with {RESERVE // MIB} in reserve: {verdict}")
    check(verdict)

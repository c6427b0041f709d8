"""How long a message takes: from its sending until it is on disk, and until another process can read its row.

python -m tests.soak.latency [seconds] [messages a second]
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from lake.query import Lake
from tests.flows.collector.venues import running
from tests.soak.feeder import FIRST, Feeder
from tests.soak.kills import Child

LOOK = 0.02  # seconds between two looks of the reader


class Noting(set[int]):
    """Accepted numbers, with when each was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, float] = {}

    def update(self, *numbers: object) -> None:
        now = time.monotonic()
        for some in numbers:
            for number in some:  # type: ignore[attr-defined]
                self.at[number] = now
                self.add(number)


@dataclass
class Figures:
    """Milliseconds from sending, in order."""

    durable: list[float] = field(default_factory=list)
    readable: list[float] = field(default_factory=list)
    rate: float = 0.0
    cpu_us: float = 0.0  # of the collector's process a message, sealing included
    rss_mib: float = 0.0

    def __str__(self) -> str:
        durable, readable = sorted(self.durable), sorted(self.readable)
        return (
            f"{self.rate:,.0f} messages/s, {len(durable):,} timed: message to durable "
            f"p50 {at(durable, 0.5):.0f} ms, p99 {at(durable, 0.99):.0f} ms; to readable in another process "
            f"p50 {at(readable, 0.5):.0f} ms, p95 {at(readable, 0.95):.0f} ms; "
            f"collector {self.cpu_us:.0f} us of processor a message, {self.rss_mib:.0f} MiB"
        )


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Reader:
    """Asks the lake for its newest rows, as a page does, in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.at: dict[int, float] = {}

    def look(self) -> None:
        quotes, trades = Lake.open(self._root).fresh()
        now = time.monotonic()
        sizes = quotes["bid_size"].cast(pl.Int64)
        for number in sizes.filter(sizes >= FIRST):
            self.at.setdefault(number, now)
        for text in trades["trade_id"]:
            self.at.setdefault(int(text[2:66], 16), now)

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def measure(folder: Path, seconds: float, rate: int) -> Figures:
    """Run a collector in another process for so long."""
    accepted, feeder = Noting(), Feeder(rate)
    async with running(feeder), Child.living("collect", feeder, folder, accepted) as child:
        reader = Reader(folder / "lake")
        reading = asyncio.create_task(reader.run())
        await asyncio.sleep(2)
        first, before = feeder.next, cpu_seconds(child.pid)
        await asyncio.sleep(seconds)
        last, spent, rss = feeder.next, cpu_seconds(child.pid) - before, rss_mib(child.pid)
        await asyncio.sleep(2)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await child.end(signal.SIGTERM)
    figures = Figures(rate=(last - first) / seconds, cpu_us=spent / (last - first) * 1e6, rss_mib=rss)
    for number in range(first, last):
        sent = feeder.sent_at(number)
        if number in accepted.at:
            figures.durable.append((accepted.at[number] - sent) * 1000)
        if number in reader.at:
            figures.readable.append((reader.at[number] - sent) * 1000)
    assert len(figures.durable) == last - first
    return figures


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as place:
        print(asyncio.run(measure(Path(place), *(given[:1] or [20.0]), int((given[1:] or [2_000])[0]))))

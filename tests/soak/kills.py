"""Kill a collector at random instants under load, again and again, and count what became of each message."""

import asyncio
import os
import signal
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from lake import wal
from lake.schema import QUOTES, TRADES
from lake.store import Store
from tests.flows.collector.venues import running, until
from tests.soak.feeder import FIRST, Feeder

STARTS_WITHIN = 60.0
ENDS_WITHIN = 60.0


@dataclass
class Counts:
    """What became of the messages."""

    accepted: int = 0
    lost: int = 0  # accepted, and not in the lake
    doubled: int = 0
    invented: int = 0  # in the lake, and never sent

    def hold(self, accepted: set[int], found: Counter[int], feeder: Feeder) -> None:
        """Hold what was accepted and what the lake has against one another and against what was sent."""
        self.accepted = len(accepted)
        self.lost = len(accepted - found.keys())
        self.doubled = sum(count - 1 for count in found.values())
        self.invented = sum(not FIRST <= number < feeder.next for number in found)

    @property
    def faults(self) -> tuple[int, int, int]:
        """Lost, doubled, invented."""
        return self.lost, self.doubled, self.invented


@dataclass
class Verdict(Counts):
    """What a run of kills showed."""

    kills: int = 0
    sent: int = 0
    seconds: list[float] = field(default_factory=list)  # from a start to the first accepted message

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.sent:,} messages sent, {self.accepted:,} accepted: lost {self.lost:,}, "
            f"doubled {self.doubled:,}, invented {self.invented:,}; collecting again after "
            f"{self.quantile(0.5):.1f} s (median), {self.quantile(0.95):.1f} s (p95)"
        )


class Child:
    """One life of a collector."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: asyncio.StreamReader, accepted: set[int]) -> None:
        self._process = process
        self._first = asyncio.Event()
        self._reading = asyncio.create_task(self._read(pipe, accepted))

    @classmethod
    @asynccontextmanager
    async def living(
        cls, what: str, feeder: Feeder, folder: Path, accepted: set[int], **settings: Any
    ) -> AsyncIterator["Child"]:
        """A collector of that feeder from its first accepted message on; its lake is in `folder`, and what it says.

        Fails if nothing is accepted in time. It is killed if it is still there at the end.
        """
        log = folder / "child.log"
        given = {"collector_mode": "polymarket", "lake_uri": folder / "lake", "backfill_hours": 0}
        child = await cls._start(what, {**feeder.settings, **given, **settings}, accepted, log)
        try:
            try:
                await asyncio.wait_for(child._first.wait(), STARTS_WITHIN)
            except TimeoutError:
                said = log.read_text(errors="replace")[-1_000:]
                raise AssertionError(f"nothing was accepted in {STARTS_WITHIN:.0f} s; it said: {said}") from None
            yield child
        finally:
            if child.is_up:
                await child.end(signal.SIGKILL)

    @classmethod
    async def _start(cls, what: str, settings: dict[str, Any], accepted: set[int], log: Path) -> "Child":
        read, write = os.pipe()
        told = {name.upper(): str(value) for name, value in settings.items()}
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.soak.child", what, str(write),
                env={**os.environ, **told}, pass_fds=[write], stderr=errors, stdout=errors,
            )  # fmt: skip
        os.close(write)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb")
        )
        return cls(process, reader, accepted)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _read(self, pipe: asyncio.StreamReader, accepted: set[int]) -> None:
        rest = b""
        while data := await pipe.read(1 << 16):
            rest += data
            whole = len(rest) // 8 * 8
            accepted.update(struct.unpack(f"<{whole // 8}Q", rest[:whole]))
            rest = rest[whole:]
            self._first.set()

    @property
    def is_up(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def end(self, number: signal.Signals) -> int:
        """Its exit code. Fails if it does not end in time."""
        self._process.send_signal(number)
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                code = await self._process.wait()
                await self._reading
        except TimeoutError:
            raise AssertionError(f"{number.name} did not end the collector in {ENDS_WITHIN:.0f} s") from None
        return code


async def run(
    folder: Path,
    kills: int,
    *,
    rate: int,
    rng: Random,
    longest: float = 2.0,
    what: str = "collect",
    tell: Callable[[str], None] = print,
) -> Verdict:
    """Kill `kills` lives, each at most `longest` seconds old, then let one end well, and look into the lake."""
    verdict, accepted, feeder = Verdict(), set[int](), Feeder(rate)
    folder.mkdir(parents=True, exist_ok=True)
    async with running(feeder):
        for number in range(kills + 1):
            began = asyncio.get_running_loop().time()
            async with Child.living(what, feeder, folder, accepted) as child:
                verdict.seconds.append(asyncio.get_running_loop().time() - began)
                await asyncio.sleep(rng.uniform(0.001, longest))
                if number < kills:
                    await child.end(signal.SIGKILL)
                    verdict.kills += 1
                    if verdict.kills % 20 == 0:
                        tell(f"{verdict.kills} kills, {len(accepted):,} messages accepted")
                elif what == "collect":
                    await until(lambda: len(wal.lives(folder / "lake" / "wal")) == 1, ENDS_WITHIN)
                    assert await child.end(signal.SIGTERM) == 0
                else:
                    await child.end(signal.SIGTERM)
        verdict.sent = feeder.next - FIRST
    found = in_lake(folder / "lake") if what == "collect" else naive_lake(folder / "lake")
    verdict.hold(accepted, found, feeder)
    return verdict


def in_lake(root: Path) -> Counter[int]:
    """The numbers of all rows: trades by their hash, quotes by their size; what a plain reader finds is the same."""
    store = Store.open(root)
    trades, quotes = store.scan(TRADES).collect(), store.scan(QUOTES).collect()
    for table, rows in ((TRADES, trades), (QUOTES, quotes)):
        plain = pl.read_parquet(root / table.name / "**" / "*.parquet", hive_partitioning=True)
        assert plain.height == rows.height, table.name
    return numbers(trades, quotes)


def numbers(trades: pl.DataFrame, quotes: pl.DataFrame) -> Counter[int]:
    """How often each number of the feeder is among these rows."""
    hashes = trades["trade_id"].str.slice(2, 64).map_elements(lambda text: int(text, 16), return_dtype=pl.Int64)
    sizes = quotes["bid_size"].cast(pl.Int64)
    return Counter(hashes.to_list()) + Counter(sizes.filter(sizes >= FIRST).to_list())


def naive_lake(root: Path) -> Counter[int]:
    return Counter(number for path in root.glob("*.parquet") for number in pl.read_parquet(path)["n"])

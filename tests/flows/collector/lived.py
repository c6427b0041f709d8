"""A collector's life without sockets, told from a recording, and what it leaves in a lake."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from flows.collector.intake import Intake
from flows.collector.pipeline import Pipeline
from flows.collector.recordings import find
from flows.collector.replay import adapters
from flows.collector.sealing import frames_of, write
from flows.collector.segments import Rule, Segment
from flows.collector.timing import Clock
from lake import wal
from lake.clock import HOUR_US
from lake.layout import Life
from lake.schema import DEPTH, FEED_HEALTH, QUOTES, RAW, SEGMENTS, TRADES
from lake.store import Store
from tests.session import SESSION

LIFE = Life("main", 4)
CATALOG = "polymarket-catalog"


def make(seal: Callable[[Segment], None]) -> Pipeline:
    return Pipeline(adapters(), seal, describing=[CATALOG], withholding=[CATALOG], rule=None)


@dataclass
class Lived:
    """A life without sockets: items in, a log on disk, and the segments that it made."""

    folder: Path
    every: int = 120_000_000
    now: int = 0
    segments: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = wal.Log(self.folder, LIFE, "boot")
        clock = Clock(wall=lambda: self.now, monotonic=lambda: self.now / 1e6)
        rule = Rule(lambda received: self.every, HOUR_US)
        self.intake = Intake(LIFE.epoch, clock, recorder=self.log, withheld=[CATALOG], rule=rule)
        self.pipeline = make(self.segments.append)

    def run(self, most: int | None = None, path: Path = SESSION) -> "Lived":
        """A recording, by default the project's own session, told with a tick after each frame, and written to disk."""
        recordings, _ = find(path)
        items = sorted((item for one in recordings for item in one.items()), key=lambda item: item.received)
        names = {"polymarket": "polymarket-1", "kalshi": "kalshi-1"}
        for place, item in enumerate(items[:most], 1):
            self.now = item.received
            name = names[item.wire.venue.value] if not item.wire.is_poll else f"{item.wire.venue.value}-poll"
            if item.payload is None:
                self.intake.opened(name, item.wire)
            else:
                self.intake.frame(name, item.wire, item.payload)
                self.intake.tick()
            if place % 100 == 0:
                self.work()
        self.work()
        return self

    def work(self) -> None:
        """Consume what came in, and write it to disk."""
        while (item := self.intake.take()) is not None:
            self.pipeline.take(item)
        if (batch := self.log.take()) is not None:
            self.log.write(batch)

    def end(self) -> "Lived":
        """As a recovery ends it: nothing after the last item."""
        self.pipeline.finish(self.now)
        return self

    def seal(self, store: Store, segment: Segment) -> None:
        """That segment goes into the lake."""
        write(store, segment, frames_of(segment, LIFE.collector, "boot"), LIFE.collector)


def day_of(store: Store) -> date:
    """The one day of its segments."""
    (day,) = {date.fromisoformat(part.partition["date"]) for part in store.parts(SEGMENTS)}
    return day


def without_known(raw: pl.DataFrame) -> pl.DataFrame:
    """Rows of `raw` without what was known at an anchor: that has its sets in any order."""
    return raw.with_columns(frame=pl.when(pl.col("kind") == "CUT").then(pl.lit(b"")).otherwise("frame"))


def content(store: Store) -> dict[str, pl.DataFrame]:
    """Rows of the tables that a recovery makes anew, in order; what was known at an anchor left out."""
    tables = (QUOTES, TRADES, DEPTH, FEED_HEALTH, RAW)
    found = {table.name: store.scan(table).sort("seq", *table.key).collect() for table in tables}
    return found | {RAW.name: without_known(found[RAW.name])}

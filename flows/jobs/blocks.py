"""New raw rows become blocks, and blocks become bars, so that a refresh costs what is new.

A block of ten minutes is computed from its own rows and from what was carried into it. New rows restate the blocks
that they lie in, for their markets only; if that changes what is carried on, the next block is restated as well, and
so on until nothing changes. A block that has not ended is computed again by the next refresh. Long bars are folded
from blocks. All of it is as a computation from scratch would have it.

Killed at any moment, the next refresh does it again: blocks and bars are published first, then what is carried, the
latest edge first, and the watermark last. Copies of a trade lie in one block, as they have the venue's time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import polars as pl

from lake import layout, ledger
from lake.clock import to_us
from lake.covers import Ranges
from lake.derived.bars import bars
from lake.derived.blocks import BLOCK, block_start, blocks, folded
from lake.derived.carry import Ticks, carry
from lake.derived.movers import WideGap
from lake.derived.prices import moment, reference
from lake.parts import of_segments
from lake.schema import BARS, BLOCKS, CARRIES, GAPS, QUOTES, TRADES, VENUE_STATS, Table
from lake.store import Store

DAY_FILE: Final = "bars"  # the one file of a partition of long bars
SHORT: Final = ("1m", "5m")  # computed from rows, a file an hour; the others are folded
HOUR: Final = timedelta(hours=1)

Keys = frozenset[int] | None
"""Markets; None = all of them."""

NEEDED: Final[Mapping[Table, tuple[str, ...]]] = {
    QUOTES: ("market_key", "event_time", "seq", "bid", "ask"),
    TRADES: (
        "market_key",
        "event_time",
        "received_time",
        "seq",
        "trade_id",
        "price",
        "size",
        "taker_side",
        "is_block_trade",
    ),
    GAPS: ("market_key", "start_time", "end_time", "seq", "connection", "reason"),
    VENUE_STATS: ("market_key", "received_time", "seq", "volume_24h_usd", "volume_24h_contracts"),
}
"""What a restatement reads, and of it which columns. Whoever has rows of these is a venue."""

_KINDS: Final = ("quote", "trade", "gap")
_EDGE: Final = "edge"


class Source:
    """A venue's raw rows by the time they happened, and what was carried over the edges of blocks."""

    def __init__(self, store: Store, venue: str) -> None:
        self.store, self.venue = store, venue
        self._files = {
            table: ledger.spans(store, store.parts(table, venues=[venue]), ledger.ends(store, table))
            for table in NEEDED
        }
        self.edges = sorted(_edge(part) for part in store.parts(CARRIES, venues=[venue]))

    def rows(self, table: Table, start: datetime, end: datetime) -> pl.LazyFrame:
        """Rows with start <= time < end, of the columns that are needed."""
        assert table.time is not None
        parts = [part for part, span in self._files[table] if ledger.meets(span, start, end)]
        is_in = pl.col(table.time).is_between(moment(start), moment(end), closed="left")
        return self.store.scan_parts(table, parts).filter(is_in, *_told(table)).select(NEEDED[table])

    def of_segments(self, table: Table, segments: Ranges) -> pl.LazyFrame:
        """market_key and the time of all rows of these segments, coalesced."""
        assert table.time is not None
        parts = [part for part, _ in self._files[table]]
        rows = of_segments(self.store, table, parts, segments).filter(*_told(table))
        return rows.select("market_key", time=table.time)

    def blocks_from(self, instant: datetime) -> set[datetime]:
        """The blocks that end after `instant` and may have rows."""
        first = block_start(instant)
        found = {first}
        spans = [span for files in self._files.values() for _, span in files if span is not None]
        for start, end in spans:
            if end >= instant:
                each = block_start(max(start, first))
                while each <= end:
                    found.add(each)
                    each += BLOCK
        return found

    def carried(self, edge: datetime) -> pl.DataFrame:
        """What is carried over that edge of a block: of the newest edge that was reached, as nothing came since."""
        place = bisect_right(self.edges, edge)
        if not place:
            return CARRIES.empty().collect().select(*CARRIES.columns)
        return self.store.load(_carry_part(self.venue, self.edges[place - 1])).filter(pl.col("kind") != _EDGE)


def _told(table: Table) -> list[pl.Expr]:
    """What of a table counts: that a gap was back-filled is told in a row of its own, and changes no price."""
    return [~pl.col("backfilled").fill_null(False)] if table is GAPS else []


def ticks_of(carried: pl.DataFrame, source: Source, start: datetime, end: datetime) -> Ticks:
    """What was carried into `start`, the edge of a block, and the rows of [start, end)."""
    old = _ticks(carried)
    tables = (QUOTES, TRADES, GAPS)
    new = (source.rows(table, start, end) for table in tables)
    return Ticks(*(pl.concat(pair, how="diagonal") for pair in zip(old, new, strict=True)))


@dataclass(slots=True)
class Made:
    """What became of one block."""

    start: datetime
    keys: Keys
    block: pl.DataFrame
    bars: dict[str, pl.DataFrame]


@dataclass(slots=True)
class Restatement:
    """One venue's blocks and bars, brought up to date: `add` what is new, then `run`."""

    source: Source
    until: datetime | None  # rows are in up to here; None = every block has ended
    written: dict[str, int] = field(default_factory=dict)  # interval to bars
    _todo: dict[datetime, Keys] = field(default_factory=dict)
    _carries: dict[datetime, pl.DataFrame] = field(default_factory=dict)
    _made: list[Made] = field(default_factory=list)

    def add(self, start: datetime, keys: Keys) -> None:
        """The block that begins at `start` is to be computed again for these markets."""
        known = self._todo.get(start, frozenset())
        self._todo[start] = None if keys is None or known is None else known | keys

    def run(self) -> None:
        """Restate what was added and what follows from it; publish it all."""
        days = set()
        while self._todo:
            start = min(self._todo)
            if self._made and _hour(self._made[0].start) != _hour(start):
                self._flush()
            self._restate(start, self._todo.pop(start))
            days.add(start.date())
        self._flush()
        for day in sorted(days):
            self._fold_day(day)
        for edge in sorted((edge for edge in self._carries if self.until is None or edge <= self.until), reverse=True):
            mark = CARRIES.frame(
                [(_EDGE, None, to_us(edge), *[None] * 8)]
            )  # so that nothing carried is something noted
            self.source.store.replace(_carry_part(self.source.venue, edge), pl.concat([mark, self._carries[edge]]))

    def _restate(self, start: datetime, keys: Keys) -> None:
        end = start + BLOCK
        has_ended = self.until is None or end <= self.until
        if has_ended and not self._is_known(start):
            keys = None
        is_in = pl.lit(True) if keys is None else pl.col("market_key").is_in(list(keys))
        is_mine = is_in | pl.col("market_key").is_null()
        ticks = ticks_of(self._carried(start), self.source, start, end)
        loaded = Ticks(*(frame.lazy() for frame in pl.collect_all([frame.filter(is_mine) for frame in ticks])))
        prices = reference(*loaded).collect()
        stats = self.source.rows(VENUE_STATS, start, end).filter(is_in)
        short = [bars(prices.lazy(), loaded.trades, every, start, end, self.until) for every in SHORT]
        made = dict(zip(SHORT, pl.collect_all(short), strict=True))
        wide = _wide_gaps(loaded.gaps, start)
        self._made.append(Made(start, keys, blocks(prices, loaded.trades, stats, start, self.until, wide=wide), made))
        if has_ended or self._todo:  # some rows are ahead of `until`, as a venue's clock may be
            self._carry_on(end, keys, _carry_rows(carry(*loaded, before=end)))

    def _is_known(self, start: datetime) -> bool:
        """Whether the block that begins at `start` was computed to its end."""
        end, place = start + BLOCK, bisect_left(self.source.edges, start + BLOCK)
        return end in self._carries or self.source.edges[place : place + 1] == [end]

    def _carried(self, edge: datetime) -> pl.DataFrame:
        """As `Source.carried`, with what this run made of it."""
        mine = max((each for each in self._carries if each <= edge), default=None)
        place = bisect_right(self.source.edges, edge)
        if mine is not None and (not place or self.source.edges[place - 1] <= mine):
            return self._carries[mine]
        return self.source.carried(edge)

    def _carry_on(self, edge: datetime, keys: Keys, fresh: pl.DataFrame) -> None:
        """Note what is carried over `edge`; where that changes for a market, its next block is to be restated."""
        old = self.source.carried(edge)  # what the blocks after it were made from
        if keys is not None:
            fresh = pl.concat([old.filter(~pl.col("market_key").is_in(list(keys)).fill_null(True)), fresh])
        fresh = fresh.sort(CARRIES.order)
        both = pl.concat([old, fresh])
        changed = both.filter(~both.is_duplicated())["market_key"].unique()
        self._carries[edge] = fresh
        is_over = self.until is not None and edge >= self.until
        if (fresh["kind"] == "trade").any() and not is_over and not self._is_known(edge):
            self.add(edge, None)  # a price that grows old happens in its block
        if not changed.is_empty():
            following = [each - BLOCK for each in self.source.edges if each - BLOCK >= edge]
            following += [each for each in self._todo if each >= edge]
            if following:
                self.add(min(following), None if changed.has_nulls() else frozenset(changed.to_list()))

    def _flush(self) -> None:
        """Publish the blocks and bars of the hour that was computed, and its bar of an hour."""
        if not self._made:
            return
        hour = _hour(self._made[0].start)
        finer = BARS.empty().collect()
        whole = self._put(BLOCKS, f"{hour:%H}", hour, [(each, each.block) for each in self._made])
        for every in SHORT:
            fresh = [(each, each.bars[every].drop("interval")) for each in self._made]
            finer = self._put(BARS, f"{DAY_FILE}-{hour:%H}", hour, fresh, interval=every)
            self._count(every, sum(frame.height for _, frame in fresh))
        folds = _marked(folded(whole.lazy(), "1h", self.until).drop("interval").collect(), finer)
        part = self._part(BARS, DAY_FILE, hour.date(), interval="1h")
        old = self._load(part).filter(pl.col("bar_start") != moment(hour))
        self.source.store.replace(part, pl.concat([old, folds]).sort(BARS.order))
        self._count("1h", folds.height)
        self._made = []

    def _fold_day(self, day: date) -> None:
        store, venue = self.source.store, self.source.venue
        rows = store.scan(BLOCKS, venues=[venue], dates=[day])
        hours = self._load(self._part(BARS, DAY_FILE, day, interval="1h"))
        folds = _marked(folded(rows, "1d", self.until).drop("interval").collect(), hours)
        store.replace(self._part(BARS, DAY_FILE, day, interval="1d"), folds.sort(BARS.order))
        self._count("1d", folds.height)

    def _put(
        self, table: Table, name: str, hour: datetime, fresh: list[tuple[Made, pl.DataFrame]], **partition: str
    ) -> pl.DataFrame:
        """Put rows into the file of their hour, in the place of those of the same markets and block; the whole file."""
        part = self._part(table, name, hour.date(), **partition)
        rows = self._load(part)
        for made, _ in fresh:
            is_there = pl.col("bar_start").is_between(moment(made.start), moment(made.start + BLOCK), closed="left")
            is_its = pl.lit(True) if made.keys is None else pl.col("market_key").is_in(list(made.keys))
            rows = rows.filter(~(is_there & is_its))
        rows = pl.concat([rows, *(frame for _, frame in fresh)]).sort(table.order)
        self.source.store.replace(part, rows)
        return rows

    def _part(self, table: Table, name: str, day: date, **partition: str) -> layout.Part:
        return layout.part(table, name, venue=self.source.venue, date=day, **partition)

    def _load(self, part: layout.Part) -> pl.DataFrame:
        store = self.source.store
        if store.exists(part):
            return store.load(part)
        return part.table.empty().select(*part.table.columns).collect()

    def _count(self, every: str, count: int) -> None:
        self.written[every] = self.written.get(every, 0) + count


def _marked(folds: pl.DataFrame, finer: pl.DataFrame) -> pl.DataFrame:
    """Bars of one long interval, back-filled where one of the market's `finer` bars, those of that interval, is."""
    which = finer.filter("is_backfilled")["market_key"].unique()
    return folds.with_columns(is_backfilled=pl.col("market_key").is_in(which.implode()))


def _wide_gaps(gaps: pl.LazyFrame, before: datetime) -> list[WideGap]:
    """The gaps of the whole venue without an end that are carried on: a board reads the rows where they start."""
    is_wide = pl.col("market_key").is_null() & pl.col("end_time").is_null() & (pl.col("start_time") < moment(before))
    return [WideGap(*row) for row in gaps.filter(is_wide).select("start_time", "end_time", "seq").collect().iter_rows()]


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _edge(part: layout.Part) -> datetime:
    day, name = date.fromisoformat(part.partition["date"]), part.name
    return datetime.combine(day, time(int(name[:2]), int(name[2:])), UTC)


def _carry_part(venue: str, edge: datetime) -> layout.Part:
    return layout.part(CARRIES, f"{edge:%H%M}", venue=venue, date=edge.date())


def _carry_rows(ticks: Ticks) -> pl.DataFrame:
    """What is carried, as rows of `schema.CARRIES`."""
    frames = [CARRIES.empty().select(*CARRIES.columns)]
    for kind, columns, frame in zip(_KINDS, _KEPT, ticks, strict=True):
        frames.append(
            frame.select(*columns).rename({"start_time": "event_time"}, strict=False).with_columns(kind=pl.lit(kind))
        )
    return pl.concat(frames, how="diagonal").collect()


def _ticks(carried: pl.DataFrame) -> Ticks:
    """Rows of `schema.CARRIES` as the raw rows that they were, of the columns that they kept."""
    named = carried.lazy().with_columns(start_time="event_time")
    return Ticks(
        *(named.filter(pl.col("kind") == kind).select(*kept) for kind, kept in zip(_KINDS, _KEPT, strict=True))
    )


_KEPT: Final = (
    ("market_key", "event_time", "seq", "bid", "ask"),
    ("market_key", "event_time", "seq", "trade_id", "price"),
    ("market_key", "start_time", "end_time", "seq", "connection", "reason"),
)

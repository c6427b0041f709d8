"""Raw rows that came in since the last time become bars and a board of movers.

The watermark is the last `seq` of every collector's life whose rows are in the bars. Only markets with
newer rows are computed again, from the start of the day of the earliest of these, with what held
before carried in; so a late recording restates what it touches, and the result is that of computing
everything anew. Bars of a day are one file, replaced whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from lake import layout
from lake.clock import DAY_US, floor_to, from_us, to_us
from lake.derived.bars import bars
from lake.derived.carry import Ticks, since
from lake.derived.prices import reference
from lake.derived.slices import WINDOWS
from lake.layout import Part, SeqRange
from lake.reading import computed_board
from lake.schema import BAR_INTERVALS, BARS, GAPS, MOVERS, QUOTES, SEGMENTS, TRADES
from lake.store import Store

JOB: Final = "bars"
FILE: Final = "bars"  # the one file of a partition


@dataclass(frozen=True, slots=True)
class BarsReport:
    """What a refresh of the bars did."""

    segments: int  # new ones
    markets: int  # computed again
    bars: dict[str, int] = field(default_factory=dict)  # interval to bars written
    since: datetime | None = None  # the earliest new row


def refresh_bars(store: Store, *, anew: bool = False) -> BarsReport:
    """Bring the bars up to date; `anew` ignores the watermark and computes all of them."""
    spans = [SeqRange.parse(part.name) for part in store.parts(SEGMENTS)]
    reached = {} if anew else store.watermark(JOB)
    new = [span for span in spans if span.last > reached.get(_life(span), -1)]
    if not new:
        return BarsReport(0, 0)
    names = {span.name for span in new}
    markets, written = 0, dict.fromkeys(BAR_INTERVALS, 0)
    earliest: list[datetime] = []
    for venue in _venues(store):
        touched = _touched(store, venue, names)
        if touched.is_empty():
            continue
        markets += touched.height
        earliest += touched["since"].to_list()
        for interval, count in _restate(store, venue, touched).items():
            written[interval] += count
    for span in new:
        reached[_life(span)] = max(span.last, reached.get(_life(span), -1))
    store.set_watermark(JOB, reached)
    return BarsReport(len(new), markets, written, min(earliest, default=None))


@dataclass(frozen=True, slots=True)
class BoardReport:
    """What a board of movers holds."""

    as_of: datetime
    rows: int
    listed: dict[str, int]  # window to markets that a list shows


def refresh_board(store: Store, as_of: datetime, windows: Mapping[str, timedelta] = WINDOWS) -> BoardReport:
    """Score every market over each window as of that instant, and publish the board, a file a venue."""
    found = computed_board(store, windows, as_of)
    for venue in found["venue"].unique().sort():
        part = layout.part(MOVERS, f"board-{to_us(as_of)}", venue=venue, date=as_of.date())
        store.replace(part, found.filter(pl.col("venue") == venue).select(*MOVERS.columns))
    is_listed = pl.col("biggest_rank").is_not_null() | pl.col("classic_rank").is_not_null()
    listed = found.group_by("window").agg(is_listed.sum())
    return BoardReport(as_of, found.height, dict(listed.iter_rows()))


def boards_since(store: Store, since: datetime) -> list[datetime]:
    """The instants of published boards that rows from `since` on may have changed, in order."""
    names = {part.name for part in store.parts(MOVERS)}
    instants = sorted(from_us(int(name.removeprefix("board-"))) for name in names)
    return [instant for instant in instants if instant >= since]


def raw_ticks(store: Store, venue: str) -> Ticks:
    """The venue's quotes, trades and gaps, as `lake.derived` takes them."""
    return Ticks(*(store.scan(table, venues=[venue]) for table in (QUOTES, TRADES, GAPS)))


def _life(span: SeqRange) -> str:
    return f"{span.collector}-{span.epoch}"


def _venues(store: Store) -> list[str]:
    return sorted({part.partition["venue"] for table in (QUOTES, TRADES, GAPS) for part in store.parts(table)})


def _touched(store: Store, venue: str, names: set[str]) -> pl.DataFrame:
    """Markets with a row in the segments `names`, and their earliest: market_key, since.

    A gap of the whole venue touches every market of it.
    """
    times = {QUOTES: "event_time", TRADES: "event_time", GAPS: "start_time"}
    found = pl.concat(
        [
            store.scan_parts(table, _named(store.parts(table, venues=[venue]), names)).select(
                "market_key", since=pl.col(time)
            )
            for table, time in times.items()
        ]
    ).collect()
    everywhere = found.filter(pl.col("market_key").is_null())["since"].min()
    if everywhere is not None:
        every = store.scan(QUOTES, venues=[venue]).select("market_key").unique().collect()
        found = pl.concat([found, every.with_columns(since=pl.lit(everywhere, dtype=found.schema["since"]))])
    return found.drop_nulls("market_key").group_by("market_key").agg(pl.col("since").min())


def _named(parts: Iterable[Part], names: set[str]) -> list[Part]:
    return [part for part in parts if part.name in names]


def _restate(store: Store, venue: str, touched: pl.DataFrame) -> dict[str, int]:
    """Compute the touched markets' bars from the first day on that any of them changed, and put them in place."""
    keys = touched["market_key"]
    earliest = touched["since"].min()
    assert isinstance(earliest, datetime)
    edge = from_us(floor_to(to_us(earliest), DAY_US))
    hit = pl.col("market_key").is_in(keys.implode())
    raw = raw_ticks(store, venue)
    ticks = since(
        raw.quotes.filter(hit), raw.trades.filter(hit), raw.gaps.filter(hit | pl.col("market_key").is_null()), edge
    )
    loaded = Ticks(*(frame.collect().lazy() for frame in ticks))
    prices = reference(*loaded).collect().lazy()
    return {
        interval: _replace(store, venue, interval, edge, keys, bars(prices, loaded.trades, interval, edge).collect())
        for interval in BAR_INTERVALS
    }


def _replace(store: Store, venue: str, interval: str, edge: datetime, keys: pl.Series, fresh: pl.DataFrame) -> int:
    """Put `fresh` in the place of these markets' bars from `edge` on, a day's file at a time; the bars written."""
    days = fresh.drop("interval").with_columns(day=pl.col("bar_start").dt.date()).partition_by("day", as_dict=True)
    by_day: Mapping[date, pl.DataFrame] = {day[0]: frame.drop("day") for day, frame in days.items()}
    there = {
        date.fromisoformat(part.partition["date"]): part
        for part in store.parts(BARS, venues=[venue])
        if part.partition["interval"] == interval
    }
    for day in sorted({*by_day, *(day for day in there if day >= edge.date())}):
        new = by_day.get(day, fresh.drop("interval").clear())
        if day in there:
            old = store.load(there[day]).filter(~pl.col("market_key").is_in(keys.implode()))
            new = pl.concat([old, new])
        part = layout.part(BARS, FILE, interval=interval, venue=venue, date=day)
        store.replace(part, new.select(*BARS.columns).sort(*BARS.order))
    return fresh.height

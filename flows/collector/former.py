"""What the lake knows from before: which life this is, what its markets were like, whether the last life ended well."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from flows.collector.versions import Versions
from flows.venues.base import Stats
from lake.clock import to_us
from lake.layout import SeqRange
from lake.parts import of_segments
from lake.reading import dates
from lake.schema import GAPS, QUOTES, SEALED, SEGMENTS, TIME, TRADES, VENUE_STATS, Table
from lake.store import Store
from lake.vocab import Gap, Venue

RECENT_DAYS: Final = 2  # of reported figures
AT_ONCE: Final = 50_000  # versions that are read into memory together

_RECEIVED: Final = (QUOTES, TRADES, VENUE_STATS)

_IS_ENDED: Final = pl.col("reason") == Gap.FEED_ENDED.value
_IS_END: Final = _IS_ENDED & pl.col("market_key").is_not_null()  # a market's, written when a life is stopped
_IS_ABSENCE: Final = (  # the venue's, written when a life starts; older programs called it as the former
    pl.col("reason").is_in([Gap.COLLECTOR_DOWN.value, Gap.FEED_ENDED.value]) & pl.col("market_key").is_null()
)


def next_epoch(store: Store, collector: str) -> int:
    """One more than that collector's largest in the lake, files of a segment that broke off included.

    On a lake that several machines write to at least what came with the lease: a former holder may have kept its own.
    """
    there = (span.epoch for table in SEALED for span in _spans(store, table, collector))
    return max(max(there, default=-1) + 1, store.least_epoch)


def remember(store: Store, table: Table, versions: Versions) -> None:
    """Tell `versions` the newest published row of each key of `table`, so that only what is new since makes a row.

    Rows that a killed life only showed may not come again: catalogue pages are not in its log.
    """
    key, *columns = list(table.columns)[:-2]
    times = [name for name in columns if table.columns[name] == TIME]
    for newest in _newest(store.scan_parts(table, store.parts(table)), key, "as_of"):
        rows = newest.select(key, *columns).with_columns(pl.col(times).dt.epoch("us"))
        for row in rows.iter_rows(named=True):
            versions.know(row.pop(key), row)


def remember_stats(store: Store, stats: dict[int, Stats]) -> None:
    """Tell `stats` each market's newest figures of the last days, which are soon old."""
    days = dates(store, VENUE_STATS)[-RECENT_DAYS:]
    key, _, *columns = list(VENUE_STATS.columns)[:-1]
    parts = store.parts(VENUE_STATS, dates=days) if days else []
    for newest in _newest(store.scan_parts(VENUE_STATS, parts), key, "received_time") if parts else ():
        for market, *figures in newest.select(key, *columns).iter_rows():
            stats[market] = Stats(market, *figures)


def _newest(rows: pl.LazyFrame, key: str, time: str) -> Iterator[pl.DataFrame]:
    """The newest row of each key, a part of the keys at a time: there are hundreds of thousands, and rows are wide."""
    order = rows.select(key, time, "seq").sort(time, "seq").unique(key, keep="last", maintain_order=True).collect()
    for part in order.iter_slices(AT_ONCE):
        low, high = part["seq"].min(), part["seq"].max()
        near = rows.filter(pl.col("seq").is_between(low, high)) if order.height > AT_ONCE else rows
        yield near.join(part.lazy(), on=[key, time, "seq"], how="semi").unique([key], keep="any").collect()


def last_word(store: Store, collector: str, venue: Venue) -> int | None:
    """When the collector's last life heard of the venue last, microseconds, if it ended without a word of it.

    None for a life that ended well, that never heard of it, or that was never there.
    """
    spans = sorted(_spans(store, SEGMENTS, collector))
    if not spans:
        return None
    epoch = [span for span in spans if span.epoch == spans[-1].epoch]
    if not _of(store, GAPS, venue, epoch[-1:]).filter(_IS_END).collect().is_empty():
        return None
    latest = [_of(store, table, venue, epoch).select(pl.col("received_time").max()).collect() for table in _RECEIVED]
    latest.append(_of(store, GAPS, venue, epoch).filter(_IS_ABSENCE).select(pl.col("end_time").max()).collect())
    known = [frame.item() for frame in latest if frame.item() is not None]
    return to_us(max(known)) if known else None


def _of(store: Store, table: Table, venue: Venue, spans: list[SeqRange]) -> pl.LazyFrame:
    return of_segments(store, table, store.parts(table, venues=[venue.value]), spans)


def _spans(store: Store, table: Table, collector: str) -> Iterator[SeqRange]:
    for part in store.parts(table):
        yield from (span for span in store.spans(part) if span.collector == collector)

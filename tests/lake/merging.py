"""Lakes with segments to be merged: `segment(store, "10:05", 3)` seals three quotes, a trade and a gap of a minute."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from lake.clock import to_us
from lake.layout import SeqRange
from lake.rowhash import added, rows_hash
from lake.schema import GAPS, QUOTES, RAW, SEALED, SEQ_BITS, TRADES, Table
from lake.store import Store
from tests.builders import gap, instant, quote, trade
from tests.lake.lakes import row, rows

VENUE = "kalshi"


class Sum(NamedTuple):
    """Rows and their order-free hash."""

    rows: int
    hash: int


def segment(
    store: Store,
    at: str | datetime,
    count: int = 3,
    *,
    number: int | None = None,
    epoch: int = 0,
    collector: str = "c",
    venues: Iterable[str] = (VENUE,),
    only: Collection[Table] = SEALED,
) -> SeqRange:
    """Seal a minute that began then; `number` is its place in the life, by default the minutes since 2026."""
    began = instant(at)
    place = (began - datetime(2026, 1, 1, tzinfo=UTC)) // timedelta(minutes=1) if number is None else number
    first = (epoch << SEQ_BITS) + 10 * place
    span = SeqRange(collector, epoch, first, first + 9)
    tables = {}
    for venue in venues:
        when = [began + timedelta(seconds=index) for index in range(count)]
        quotes = [
            quote(index / 100, None, time, market=(7 * place + index) % 5, seq=first + index % 10)
            for index, time in enumerate(when)
        ]
        raw = {
            "collector": collector,
            "kind": "frame",
            "connection": "x",
            "wire": "w",
            "received_time": began,
            "frame": b"\0" * 9,
        }
        tables |= {
            (QUOTES, venue): rows(QUOTES, quotes),
            (TRADES, venue): rows(TRADES, [trade(0.5, 1, when[0], seq=first, trade_id=f"{collector}{place}")]),
            # The same gap twice, as it was told, and as it ended: a merge takes neither away.
            (GAPS, venue): rows(GAPS, [gap(began, None, seq=first), gap(began, when[-1], seq=first + 1)]),
            (RAW, venue): rows(RAW, [row(RAW, seq=first + index, **raw) for index in range(count)]),
        }
    tables = {key: frame for key, frame in tables.items() if key[0] in only}
    ends = to_us(began), to_us(began + timedelta(seconds=59))
    store.publish_segment(span, began.date(), count, tables, None, ends=ends)
    return span


def sums(store: Store, tables: Collection[Table] = SEALED) -> dict[str, Sum]:
    """What a reader sees of each of these tables, whatever the files."""

    def look() -> dict[str, Sum]:
        return {table.name: total(store.scan(table).select(*table.columns).collect()) for table in tables}

    return store.again(look)


def total(frame: pl.DataFrame) -> Sum:
    return Sum(frame.height, rows_hash(frame))


def together(*parts: Sum) -> Sum:
    return Sum(sum(part.rows for part in parts), added(part.hash for part in parts))


def names(store: Store) -> list[str]:
    """Every file in the tables' folders, below the root."""
    return sorted(str(part.path) for table in SEALED for part in store.listed(table))

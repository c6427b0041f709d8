"""Rows and frames with sane defaults: `quotes(quote(bid=0.4, ask=0.42, at="10:00:05"))`.

A row is a dict with a value for every column of its table; a frame is lazy and has the table's columns, and
`venue` too if one is given. Times are texts on `TODAY`, in UTC, or datetimes; `seq` rises with every row made.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from itertools import count
from typing import Any

import polars as pl

from lake.schema import GAPS, QUOTES, TRADES, VENUE_STATS, Table
from lake.vocab import Gap, Source, TakerSide

Row = dict[str, Any]

TODAY = date(2026, 3, 2)
MARKET = 1

_SEQ = count(1)


def instant(at: str | datetime) -> datetime:
    """`at` in UTC: "10:00", "10:00:05", "10:00:05.25" on `TODAY`, "2026-03-01 23:59" on another day."""
    if isinstance(at, datetime):
        return at
    if "-" in at:
        return datetime.fromisoformat(at).replace(tzinfo=UTC)
    return datetime.combine(TODAY, time.fromisoformat(at), UTC)


def quote(
    bid: float | None = 0.40,
    ask: float | None = 0.42,
    at: str | datetime = "10:00:00",
    market: int = MARKET,
    **columns: Any,
) -> Row:
    """A row of `schema.QUOTES`; None is an empty side."""
    moment = instant(at)
    row = {
        "market_key": market,
        "event_time": moment,
        "received_time": moment,
        "bid": bid,
        "ask": ask,
        "bid_size": None if bid is None else 100.0,
        "ask_size": None if ask is None else 100.0,
        "seq": next(_SEQ),
        "source": Source.BOOK.value,
    }
    return row | columns


def trade(
    price: float = 0.41,
    size: float = 10.0,
    at: str | datetime = "10:00:00",
    market: int = MARKET,
    side: str | None = TakerSide.BUY,
    **columns: Any,
) -> Row:
    """A row of `schema.TRADES`; its id is that of its seq."""
    moment, seq = instant(at), columns.get("seq", next(_SEQ))
    row = {
        "market_key": market,
        "trade_id": f"t{seq}",
        "event_time": moment,
        "received_time": moment,
        "price": price,
        "size": size,
        "taker_side": side,
        "is_block_trade": False,
        "seq": seq,
    }
    return row | columns


def gap(start: str | datetime, end: str | datetime | None = None, market: int | None = MARKET, **columns: Any) -> Row:
    """A row of `schema.GAPS`; no market = every market of the venue."""
    row = {
        "connection": "c1",
        "market_key": market,
        "start_time": instant(start),
        "end_time": None if end is None else instant(end),
        "detected_time": instant(start if end is None else end),
        "reason": Gap.DISCONNECTED.value,
        "backfilled": False,
        "seq": next(_SEQ),
    }
    return row | columns


def venue_stat(at: str | datetime = "10:00:00", market: int = MARKET, **columns: Any) -> Row:
    """A row of `schema.VENUE_STATS`; figures that are not given are not reported."""
    row: Row = dict.fromkeys(VENUE_STATS.columns)
    return row | {"market_key": market, "received_time": instant(at), "seq": next(_SEQ)} | columns


def frame(table: Table, rows: Iterable[Mapping[str, Any]], venue: str | None = None) -> pl.LazyFrame:
    """`rows` as a frame of `table`, in their order; a row may name its own `venue`."""
    given = [dict(row) for row in rows]
    names = {name for row in given for name in row}
    schema = dict(table.columns) | ({"venue": pl.String()} if venue or "venue" in names else {})
    data = [{"venue": venue} | row for row in given]
    return pl.LazyFrame(data, schema=schema)


def quotes(*rows: Row, venue: str | None = None) -> pl.LazyFrame:
    """Rows of `quote` as a frame."""
    return frame(QUOTES, rows, venue)


def trades(*rows: Row, venue: str | None = None) -> pl.LazyFrame:
    """Rows of `trade` as a frame."""
    return frame(TRADES, rows, venue)


def gaps(*rows: Row, venue: str | None = None) -> pl.LazyFrame:
    """Rows of `gap` as a frame."""
    return frame(GAPS, rows, venue)


def venue_stats(*rows: Row, venue: str | None = None) -> pl.LazyFrame:
    """Rows of `venue_stat` as a frame."""
    return frame(VENUE_STATS, rows, venue)

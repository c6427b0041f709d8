"""The truth as Polars frames, in the columns and units of the lake's tables."""

from typing import Any

import polars as pl

from flows.simulator.truth import Truth, key_of
from flows.simulator.wire import ONE
from lake.schema import TIME
from lake.vocab import MarketStatus, TakerSide, Venue

_KEYS = {"venue": pl.String(), "market_key": pl.Int64(), "event_time": TIME}
_TOPS = ("bid", "ask", "bid_size", "ask_size")
QUOTES = _KEYS | {name: pl.Float64() for name in _TOPS} | {"is_change": pl.Boolean()}
TRADES = _KEYS | {"trade_id": pl.String(), "price": pl.Float64(), "size": pl.Float64(), "taker_side": pl.String()}
LIVES = _KEYS | {"market_id": pl.String(), "kind": pl.String(), "status": pl.String(), "result": pl.String()}
FAULTS = {
    "venue": pl.String(), "number": pl.Int64(), "kind": pl.String(), "connection": pl.Int64(), "market": pl.String(),
    "start": TIME, "end": TIME, "first": TIME, "last": TIME, "hits": pl.Int64(),
}  # fmt: skip

_STATUS = {
    "listed": MarketStatus.ACTIVE,
    "closed": MarketStatus.CLOSED,
    "determined": MarketStatus.RESOLVED,
    "gone": MarketStatus.RESOLVED,
}


def quotes(truth: Truth, start: int, end: int) -> pl.DataFrame:
    """Tops of books in start < event_time <= end, by time; with `is_change` those that must be stored.

    The others say how books stood at `start`, and what happened while nobody had asked for the market.
    """
    rows = [
        (
            venue.value,
            key_of(top.market),
            top.time,
            *map(_real, (top.bid, top.ask, top.bid_size, top.ask_size)),
            changed,
        )
        for venue in Venue
        for top in truth.tops(venue, start, end)
        for changed in (top.is_change,)
    ]
    return _frame(rows, QUOTES)


def trades(truth: Truth, start: int, end: int) -> pl.DataFrame:
    """Trades that must be stored, of start < event_time <= end."""
    sides = {True: TakerSide.BUY.value, False: TakerSide.SELL.value}
    rows = [
        (venue.value, key_of(t.market), t.time, t.trade_id, _real(t.price), _real(t.size), sides[t.is_buy])
        for venue in Venue
        for t in truth.trades(venue, start, end)
    ]
    return _frame(rows, TRADES)


def lives(truth: Truth, start: int, end: int) -> pl.DataFrame:
    """Turns of all markets' lives, of start < event_time <= end, with the status and result that they lead to."""
    rows = [
        (venue.value, key_of(each.market), each.time, f"{venue.value}:{each.market.native_id}", each.kind.value,
         _STATUS[each.kind.value].value, each.result)
        for venue in Venue
        for each in truth.lives(venue, start, end)
    ]  # fmt: skip
    return _frame(rows, LIVES)


def faults(truth: Truth) -> pl.DataFrame:
    """The windows of all faults, by their start; `first` and `last` are of what each took."""
    rows = [tuple(window.get(name) for name in FAULTS) for window in truth.faults()]
    found = _frame(rows, FAULTS)
    return found.with_columns(pl.col("market").fill_null(""), pl.col("connection").fill_null(0))


def _real(value: int | None) -> float | None:
    return None if value is None else value / ONE


def _frame(rows: list[tuple[Any, ...]], columns: dict[str, Any]) -> pl.DataFrame:
    raw = {name: pl.Int64() if kind == TIME else kind for name, kind in columns.items()}
    times = [pl.col(name).cast(TIME) for name, kind in columns.items() if kind == TIME]
    return pl.DataFrame(rows, schema=raw, orient="row").with_columns(times)

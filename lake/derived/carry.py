"""The few older rows that a later stretch of the reference price depends on.

A refresh that starts at an edge loads the rows from the edge on and, by market, what still held
there. `reference` of both is, from the edge on, `reference` of everything, so its cost follows the
new rows and not the history.
"""

from datetime import datetime
from typing import NamedTuple

import polars as pl

from lake.derived.prices import TRADE_AGE, distinct_gaps, distinct_trades, moment, reference
from lake.schema import GAPS


class Ticks(NamedTuple):
    """The raw rows that `reference` takes, in its order of arguments."""

    quotes: pl.LazyFrame
    trades: pl.LazyFrame
    gaps: pl.LazyFrame


def carry(quotes: pl.LazyFrame, trades: pl.LazyFrame, gaps: pl.LazyFrame, before: datetime) -> Ticks:
    """What of the three tables still matters at `before`, the columns as they came; the rows from `before` on not.

    By market the newest quote, if no gap cut it, and the newest trade, if it may still be the last trade; of the
    gaps those that run over `before`, the newest without an end among them. Rows after `before` are left out, so
    the whole tables can be given, or any stretch that reaches back far enough to hold the newest quote of each
    market, or an earlier carry and the rows since. Reads them here and now; the few rows of the answer are in memory.
    """
    past = _past(quotes, trades, gaps, before)
    found = pl.collect_all([_newest(past.quotes), _newest(past.trades), _newest_gaps(past.gaps)])
    newest = Ticks(*(frame.lazy() for frame in found))
    is_past = pl.col("event_time") < moment(before)
    last = reference(*newest).filter(is_past).unique("market_key", keep="last", maintain_order=True)
    state = last.select("market_key", "is_live", "last_trade_time").collect().lazy()
    live = state.filter("is_live").select("market_key")
    traded = state.filter(pl.col("last_trade_time").is_not_null()).select("market_key")
    is_open = pl.col("end_time").is_null() | (pl.col("end_time") > moment(before))
    going_on = newest.gaps.filter(is_open).join(
        _quoted(newest.quotes), on="market_key", how="left", maintain_order="left"
    )
    at, order = pl.col("quote_time"), [pl.col("start_time"), pl.col("seq")]
    is_later = (at > order[0]) | ((at == order[0]) & (pl.col("quote_seq") >= order[1]))
    is_over = pl.col("end_time").is_null() & is_later.fill_null(False)
    return Ticks(
        newest.quotes.join(live, on="market_key", how="semi"),
        newest.trades.join(traded, on="market_key", how="semi"),
        going_on.filter(~is_over).drop("quote_time", "quote_seq"),
    )


def since(quotes: pl.LazyFrame, trades: pl.LazyFrame, gaps: pl.LazyFrame, edge: datetime) -> Ticks:
    """The rows from `edge` on and what is carried into it: enough for `reference` from `edge` on."""
    old = carry(quotes, trades, gaps, edge)
    from_edge = pl.col("event_time") >= moment(edge)
    return Ticks(
        pl.concat([old.quotes, quotes.filter(from_edge)]),
        pl.concat([old.trades, trades.filter(from_edge)]),
        pl.concat([old.gaps, gaps.filter(pl.col("start_time") >= moment(edge))]),
    )


def _past(quotes: pl.LazyFrame, trades: pl.LazyFrame, gaps: pl.LazyFrame, before: datetime) -> Ticks:
    """Rows before `before`, of the trades only those that may still be the last trade."""
    edge = moment(before)
    is_young = pl.col("event_time").is_between(moment(before - TRADE_AGE), edge, closed="none")
    return Ticks(
        quotes.filter(pl.col("event_time") < edge),
        distinct_trades(trades.filter(is_young & ~pl.col("is_block_trade").fill_null(False))),
        distinct_gaps(gaps.filter(pl.col("start_time") < edge)),
    )


def _newest(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The last row of each market; trades of one frame rank by their id, as in `prices.distinct_trades`."""
    order = [name for name in ("market_key", "event_time", "seq", "trade_id") if name in rows.collect_schema()]
    return rows.sort(order).unique("market_key", keep="last", maintain_order=True)


def _quoted(newest: pl.LazyFrame) -> pl.LazyFrame:
    """When and with which seq each market was quoted last: such a quote ends its gaps without an end."""
    return newest.select("market_key", quote_time="event_time", quote_seq="seq")


def _newest_gaps(gaps: pl.LazyFrame) -> pl.LazyFrame:
    """By market or venue the gaps that decide what holds after all of them: last start, last end, last open."""
    whose = [name for name in ("venue", "market_key") if name in gaps.collect_schema()]
    has_end = pl.col("end_time").is_not_null()
    kept = [
        gaps.filter(has_end).sort("start_time", *GAPS.key).unique(whose, keep="last", maintain_order=True),
        gaps.filter(has_end).sort("end_time", *GAPS.key).unique(whose, keep="last", maintain_order=True),
        gaps.filter(~has_end).sort("start_time", "seq", *GAPS.key).unique(whose, keep="last", maintain_order=True),
    ]
    return pl.concat(kept).unique(maintain_order=True)

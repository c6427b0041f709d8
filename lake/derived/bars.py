"""OHLC bars of the reference price, of the quotes, and of what was traded.

A bar exists where at least one quote or trade lies in it; filling the rest is the reader's choice.
Coverage counts what was held as well, so a bar with one quote in a quiet market is covered whole. A bar counts as
back-filled if a trade in it came in long after it happened: no feed told of it.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from lake.clock import SECOND_US
from lake.derived.exact import decimal, share, whole
from lake.derived.prices import distinct_trades, moment
from lake.schema import BAR_INTERVALS, BARS, TIME
from lake.vocab import TakerSide

BACKFILLED_AGE: Final = timedelta(minutes=2)
"""A trade that comes in so long after it happened, or later, is back-filled."""


def bars(
    prices: pl.LazyFrame,
    trades: pl.LazyFrame,
    every: str,
    start: datetime | None = None,
    end: datetime | None = None,
    until: datetime | None = None,
) -> pl.LazyFrame:
    """Bars of width `every`, a key of `BAR_INTERVALS`: `schema.BARS` and `interval`, by market and `bar_start`.

    `prices` are rows of `prices.reference` in its order, `trades` rows of `schema.TRADES` in any. Only bars with
    `start <= bar_start < end` come back, so rows carried in from before `start` (`carry.since`) count for what they
    held and not as ticks. `until` is the instant up to which rows are in: what lies after it is not covered; None =
    every bar is complete. Block trades count in the volumes. Raises KeyError on another width.
    """
    added = volumes(distinct_trades(trades), BAR_INTERVALS[every] * SECOND_US).with_columns(
        volume_contracts=decimal(pl.col("contracts")),
        notional_usd=decimal(pl.col("notional")),
        buy_notional_usd=decimal(pl.col("buy_notional")),
    )
    return (
        ohlc(prices, every, start, end, until)
        .join(added, on=["market_key", "bar_start"], how="left")
        .sort("market_key", "bar_start")
        .with_columns(
            pl.col("volume_contracts", "notional_usd", "buy_notional_usd", "trades").fill_null(0),
            is_backfilled=pl.col("backfilled").fill_null(0) > 0,
        )
        .select(*BARS.columns, interval=pl.lit(every))
    )


def ohlc(
    prices: pl.LazyFrame,
    every: str,
    start: datetime | None = None,
    end: datetime | None = None,
    until: datetime | None = None,
) -> pl.LazyFrame:
    """`bars` without volumes: what the prices alone say."""
    width = BAR_INTERVALS[every] * SECOND_US
    found = parts(prices, width, start, end, until).filter(pl.col("ticks") > 0)
    return found.with_columns(coverage=share(pl.col("covered"), width), is_backfilled=pl.lit(False))


def parts(
    prices: pl.LazyFrame,
    width: int,
    start: datetime | None = None,
    end: datetime | None = None,
    until: datetime | None = None,
) -> pl.LazyFrame:
    """`ohlc` over `width` microseconds, bars without a tick among them, with `covered` microseconds for coverage."""
    return prices.pipe(_by_bar, width, until).filter(_is_between("bar_start", start, end)).pipe(_aggregated)


def bar_start(width: int, of: str = "event_time") -> pl.Expr:
    """The closed left edge of the bar of `width` microseconds that holds the instant `of`."""
    return (pl.col(of).to_physical() // width * width).cast(TIME).alias("bar_start")


def _is_between(name: str, start: datetime | None, end: datetime | None) -> pl.Expr:
    """Whether `start <= name < end`; None is no bound."""
    after = pl.lit(True) if start is None else pl.col(name) >= moment(start)
    return after if end is None else after & (pl.col(name) < moment(end))


def _by_bar(prices: pl.LazyFrame, width: int, until: datetime | None) -> pl.LazyFrame:
    """`prices` with `bar_start`, `bar_id` (rising) and `covered`: microseconds of the bar with a price.

    A row answers for the time from itself to the market's next row or the bar's end; the first row of a bar also
    for the time before it, in which the market's former row held.
    """
    now, market = pl.col("event_time").to_physical(), pl.col("market_key")
    edge = pl.col("bar_start").to_physical()
    has_price, same_after = pl.col("price").is_not_null(), market == market.shift(-1)
    is_first = ((market != market.shift(1)) | (edge != edge.shift(1))).fill_null(True)
    carried = is_first & (market == market.shift(1)) & has_price.shift(1)
    ends = [edge + width, *([moment(until).to_physical()] if until else [])]
    following = pl.when(same_after).then(now.shift(-1))
    held = (pl.min_horizontal(following, *ends) - now).clip(0)
    lead = (pl.min_horizontal(now, *ends) - edge).clip(0)
    return prices.with_columns(bar_start(width)).with_columns(
        bar_id=is_first.cast(pl.UInt32).cum_sum(),
        covered=pl.when(has_price).then(held).otherwise(0) + pl.when(carried).then(lead).otherwise(0),
    )


def _aggregated(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `_by_bar` as bars. The sorted id lets Polars cut groups instead of hashing keys."""
    at_tick = [pl.when("is_tick").then(name).alias(name) for name in ("price", "bid", "ask")]
    bar = rows.with_columns(at_tick).set_sorted("bar_id").group_by("bar_id", maintain_order=True)
    return bar.agg(
        pl.col("market_key", "bar_start").first(),
        *_parts("price", ""),
        *_parts("bid", "bid_"),
        *_parts("ask", "ask_"),
        ticks=pl.col("is_tick").sum().cast(pl.Int64),
        covered=pl.col("covered").sum(),
    )


def _parts(name: str, prefix: str) -> list[pl.Expr]:
    """First, highest, lowest and last value of a column, nulls aside."""
    value = pl.col(name)
    parts = {
        "open": value.first(ignore_nulls=True),
        "high": value.max(),
        "low": value.min(),
        "close": value.last(ignore_nulls=True),
    }
    return [part.alias(prefix + word) for word, part in parts.items()]


def volumes(tape: pl.LazyFrame, width: int) -> pl.LazyFrame:
    """What was traded by market and `bar_start`, `tape` having each trade once: contracts, notional (USD) and of it
    buy_notional in whole millionths; trades, of them backfilled; and without block trades tape_trades, tape_notional.
    """
    is_late = pl.lit(False)
    if "received_time" in tape.collect_schema():
        is_late = (pl.col("received_time") - pl.col("event_time") >= BACKFILLED_AGE).fill_null(False)
    notional, is_block = whole(pl.col("price") * pl.col("size")), pl.col("is_block_trade").fill_null(False)
    return tape.group_by("market_key", bar_start(width)).agg(
        contracts=whole(pl.col("size")).sum(),
        notional=notional.sum(),
        buy_notional=notional.filter(pl.col("taker_side") == TakerSide.BUY).sum(),
        trades=pl.len().cast(pl.Int64),
        backfilled=is_late.sum().cast(pl.Int64),
        tape_trades=(~is_block).sum().cast(pl.Int64),
        tape_notional=notional.filter(~is_block).sum(),
    )

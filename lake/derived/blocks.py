"""Ten minutes of a market as a few numbers that add up: what long bars and boards need of the time between.

A block has a row only for a market to which something happened in it: a quote, a trade, a gap, a price that grew old.
Between two such blocks the state stands still, so what the former left behind (`*_after`) tells of all that time.
Whatever is summed is a whole number, so the sums are those of the rows themselves to the last bit.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from lake.clock import SECOND_US
from lake.derived.bars import bar_start, parts, volumes
from lake.derived.exact import decimal, share
from lake.derived.movers import WideGap, gap_spans
from lake.derived.prices import distinct_trades, holds, moment
from lake.derived.slices import DAY, Span, needs, slices
from lake.schema import BAR_INTERVALS, BARS, BLOCKS, TIME, VENUE_STATS

BLOCK: Final = timedelta(minutes=10)
"""Divides an hour, and holds whole bars of 5 minutes."""

_WIDTH: Final = BLOCK // timedelta(microseconds=1)
_OHLC: Final = tuple(f"{side}{part}" for side in ("", "bid_", "ask_") for part in ("open", "high", "low", "close"))
_SUMS: Final = ("ticks", "contracts", "notional", "buy_notional", "trades")


def block_start(instant: datetime) -> datetime:
    """The closed left edge of the block that holds `instant`."""
    return instant - (instant - datetime.fromtimestamp(0, instant.tzinfo)) % BLOCK


def plan(as_of: datetime, windows: Mapping[str, timedelta], also: Collection[datetime] = ()) -> list[Span]:
    """The stretches of time of which a board needs the rows, in order; blocks tell of the time between them.

    The blocks of the instants `also` are among them. All edges but the first and `as_of` are edges of blocks.
    """
    since = min(needs(as_of, window).start for window in windows.values())
    wanted = [Span(since, block_start(as_of - DAY) + BLOCK)]
    for window in windows.values():
        then, _, now, _ = slices(as_of, window)
        wanted.append(Span(max(since, block_start(then.start)), block_start(then.end) + BLOCK))
        wanted.append(Span(max(since, block_start(now.start)), as_of))
    wanted += [Span(max(since, block_start(at)), block_start(at) + BLOCK) for at in also if at >= since]
    merged: list[Span] = []
    for span in sorted(Span(start, min(end, as_of)) for start, end in wanted):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def blocks(
    prices: pl.DataFrame,
    trades: pl.LazyFrame,
    stats: pl.LazyFrame,
    start: datetime,
    until: datetime | None = None,
    *,
    wide: Sequence[WideGap] = (),
) -> pl.DataFrame:
    """The rows of the block that begins at `start`: `schema.BLOCKS`, by market.

    `prices` are rows of `prices.reference` in its order, of what was carried into the block and of the block; `trades`
    and `stats` rows of `schema.TRADES` and `VENUE_STATS`, of which only those of the block count. From `until` on
    nothing is covered. The gaps `wide` count in none of it: see `movers.gap_spans`.
    """
    end = start + BLOCK
    rows = prices.lazy().filter(pl.col("event_time") < moment(end))
    tape = distinct_trades(trades.filter(pl.col("event_time").is_between(moment(start), moment(end), closed="left")))
    known = pl.collect_all([
        parts(rows, _WIDTH, start, end).drop("covered"),
        volumes(tape, _WIDTH).drop("bar_start"),
        _held(rows, start, end if until is None else min(end, until)),
        _before(rows, start),
        _after(rows, start, wide),
        _told(stats, start, end),
    ])  # fmt: skip
    happened = pl.concat([known[0].select("market_key"), known[5].select("market_key")]).unique().sort("market_key")
    for facts in known:
        happened = happened.join(facts.drop("bar_start", strict=False), on="market_key", how="left")
    counts = [*_SUMS, "tape_trades", "tape_notional", "covered", "live"]
    flags = ["is_priced_before", "is_priced_after", "is_live_after", "has_gap"]
    return happened.with_columns(
        pl.col(counts).fill_null(0), pl.col(flags).fill_null(False), bar_start=moment(start)
    ).select(*BLOCKS.columns)


def _held(rows: pl.LazyFrame, start: datetime, end: datetime) -> pl.LazyFrame:
    """By market: covered and live microseconds of [start, end)."""
    time = (pl.col("until_time") - pl.col("from_time")).dt.total_microseconds()
    return holds(rows, start, end).group_by("market_key").agg(
        covered=time.filter(pl.col("price").is_not_null()).sum(), live=time.filter("is_live").sum()
    )  # fmt: skip


def _before(rows: pl.LazyFrame, start: datetime) -> pl.LazyFrame:
    last = rows.filter(pl.col("event_time") < moment(start)).group_by("market_key", maintain_order=True).last()
    return last.select("market_key", is_priced_before=pl.col("price").is_not_null())


def _after(rows: pl.LazyFrame, start: datetime, wide: Sequence[WideGap]) -> pl.LazyFrame:
    """By market: what holds at the end of the block, the gaps in it, and its newest quote."""
    state = left_behind(rows)
    gap_end, gap_start = pl.col("end"), pl.col("start")
    gaps = gap_spans(rows, wide).group_by("market_key").agg(
        has_gap=((gap_start >= moment(start)) | (gap_end > moment(start)).fill_null(True)).any()
    )  # fmt: skip
    is_quote = (pl.col("kind") == "quote") & (pl.col("event_time") >= moment(start))
    quotes = rows.filter(is_quote).group_by("market_key").agg(last_quote_time=pl.col("event_time").max())
    return state.join(gaps, on="market_key", how="left").join(quotes, on="market_key", how="left")


def left_behind(rows: pl.LazyFrame) -> pl.LazyFrame:
    """By market what holds after the last of `rows`, until something happens: is_priced_after, is_live_after.

    `rows` are rows of `prices.reference` in its order.
    """
    state = rows.group_by("market_key", maintain_order=True).last()
    is_live = pl.col("is_live").fill_null(False)
    return state.select("market_key", is_priced_after=pl.col("price").is_not_null(), is_live_after=is_live)


def _told(stats: pl.LazyFrame, start: datetime, end: datetime) -> pl.LazyFrame:
    """By market: the newest figure of each unit that the venue told in [start, end), and when."""
    recent = stats.filter(pl.col("received_time").is_between(moment(start), moment(end), closed="left"))
    newest = []
    for unit in ("usd", "contracts"):
        figure, time = pl.col(f"volume_24h_{unit}"), pl.col("received_time")
        newest.append(figure.last(ignore_nulls=True).alias(f"reported_{unit}"))
        newest.append(time.filter(figure.is_not_null()).last().alias(f"reported_{unit}_time"))
    found = recent.sort("received_time", "seq").group_by("market_key", maintain_order=True).agg(newest)
    has_any = pl.col("reported_usd").is_not_null() | pl.col("reported_contracts").is_not_null()
    return found.filter(has_any)


def reported(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What blocks keep of the venue's figures, as rows of `schema.VENUE_STATS`: two a market and block at most."""
    empty = {name: pl.lit(None, dtype=dtype).alias(name) for name, dtype in VENUE_STATS.columns.items()}
    units = []
    for unit in ("usd", "contracts"):
        name = f"volume_24h_{unit}"
        given = {
            "market_key": pl.col("market_key"),
            "received_time": pl.col(f"reported_{unit}_time").alias("received_time"),
            name: pl.col(f"reported_{unit}").alias(name),
            "seq": pl.lit(0, dtype=pl.Int64()).alias("seq"),
        }
        units.append(rows.drop_nulls(f"reported_{unit}").select(*(empty | given).values()))
    return pl.concat(units)


def folded(rows: pl.LazyFrame, every: str, until: datetime | None = None) -> pl.LazyFrame:
    """Bars of width `every`, a whole number of blocks, from the blocks in them: as `bars.bars` makes of the raw rows.

    `rows` are all blocks of these bars, in any order.
    """
    width = BAR_INTERVALS[every] * SECOND_US
    block, edge, market = pl.col("bar_start").to_physical(), pl.col("bar").to_physical(), pl.col("market_key")
    is_same = (market == market.shift(-1)) & (pl.col("bar") == pl.col("bar").shift(-1))
    limit = pl.lit(None, dtype=pl.Int64()) if until is None else moment(until).to_physical()
    following = pl.when(is_same.fill_null(False)).then(block.shift(-1)).otherwise(edge + width)
    after = (pl.min_horizontal(following, limit) - block - _WIDTH).clip(0)
    before = (pl.min_horizontal(block, limit) - edge).clip(0)
    is_first = ((market != market.shift(1)) | (pl.col("bar") != pl.col("bar").shift(1))).fill_null(True)
    lead = pl.when(is_first & pl.col("is_priced_before")).then(before).otherwise(0)
    quiet = pl.when("is_priced_after").then(after).otherwise(0)
    ordered = rows.with_columns(bar=bar_start(width, "bar_start")).sort("market_key", "bar_start")
    found = (
        ordered.with_columns(covered=pl.col("covered") + quiet + lead)
        .group_by("market_key", "bar", maintain_order=True)
        .agg(*(_fold(name) for name in _OHLC), pl.col(*_SUMS, "covered").sum())
        .filter(pl.col("ticks") > 0)
    )
    return found.select(
        "market_key",
        *_OHLC,
        "ticks",
        "trades",
        bar_start="bar",
        volume_contracts=decimal(pl.col("contracts")),
        notional_usd=decimal(pl.col("notional")),
        buy_notional_usd=decimal(pl.col("buy_notional")),
        coverage=share(pl.col("covered"), width),
        is_backfilled=pl.lit(False),
        interval=pl.lit(every),
    ).select(*BARS.columns, "interval")


def _fold(name: str) -> pl.Expr:
    """First of the opens, highest of the highs, lowest of the lows, last of the closes, nulls aside."""
    value, part = pl.col(name), name.rpartition("_")[2]
    if part == "open":
        return value.first(ignore_nulls=True)
    if part == "close":
        return value.last(ignore_nulls=True)
    return value.max() if part == "high" else value.min()


def between(rows: pl.LazyFrame, opening: pl.LazyFrame, start: datetime, end: datetime) -> pl.LazyFrame:
    """By market what the blocks of [start, end) add up to, both being edges of blocks.

    market_key; covered and live microseconds; tape_trades, tape_notional; has_gap; ticks; quote_time, of a quote in
    them. `rows` are rows of `schema.BLOCKS`, `opening` is `left_behind` of what comes before `start`.
    """
    within = rows.filter(pl.col("bar_start").is_between(moment(start), moment(end), closed="left"))
    columns = (
        "market_key", "bar_start", "covered", "live", "tape_trades", "tape_notional", "ticks",
        "has_gap", "is_priced_after", "is_live_after", "last_quote_time",
    )  # fmt: skip
    nothing = [pl.lit(0, dtype=pl.Int64()).alias(name) for name in columns[2:7]]
    none = {"has_gap": pl.lit(False), "last_quote_time": pl.lit(None, dtype=TIME)}
    first = opening.with_columns(*nothing, bar_start=moment(start - BLOCK), **none).select(columns)
    market, edge = pl.col("market_key"), moment(end).to_physical()
    following = pl.when(market == market.shift(-1)).then(pl.col("bar_start").shift(-1).to_physical()).otherwise(edge)
    quiet = following - pl.col("bar_start").to_physical() - _WIDTH
    ordered = pl.concat([first, within.select(columns)]).sort("market_key", "bar_start").with_columns(quiet=quiet)
    return ordered.group_by("market_key").agg(
        pl.col("tape_trades", "tape_notional", "ticks").sum(),
        covered=pl.col("covered").sum() + pl.col("quiet").filter("is_priced_after").sum(),
        live=pl.col("live").sum() + pl.col("quiet").filter("is_live_after").sum(),
        quote_time=pl.col("last_quote_time").max(),
        has_gap=pl.col("has_gap").any(),  # one that was there before `start` meets the time before it as well
    )

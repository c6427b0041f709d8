"""Every market's move over a look-back window, and how well it was seen.

A move compares two short slices by their time-weighted medians, so neither a flicker nor the last tick
decides it; a slice that was not watched, or that a gap touches, makes the row insufficient data and never
a zero. Nothing is left out here, and nothing ranked: `lake.derived.scores` does that.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from lake.derived.exact import decimal, share, whole
from lake.derived.prices import distinct_trades, holds, market_venues, moment, reference
from lake.derived.scores import scored
from lake.derived.slices import DAY, WINDOWS, Slices, Span, needs, slices
from lake.schema import MOVERS, VENUE_STATS
from lake.vocab import PriceRule

RULE_VERSION: Final = "moves-2"
"""Names every number and rule of this file, `prices`, `slices` and `scores`; raised when one of them changes."""

MIN_COVERAGE: Final = 0.8
"""Least covered share of a slice, and least watched share of a day whose volume counts as observed."""

OK: Final = "ok"
GAP_IN_SLICE: Final = "gap_in_slice"
INSUFFICIENT_COVERAGE: Final = "insufficient_coverage"
RULE_CHANGED: Final = "rule_changed"

_DIGITS: Final = 9  # of percentage points: sheds the noise of binary fractions before a floor is compared


def board(
    quotes: pl.LazyFrame,
    trades: pl.LazyFrame,
    gaps: pl.LazyFrame,
    stats: pl.LazyFrame | None = None,
    markets: pl.LazyFrame | None = None,
    *,
    as_of: datetime,
    windows: Mapping[str, timedelta] = WINDOWS,
) -> pl.DataFrame:
    """Every market of `quotes` and `trades`, scored and ranked over each window: `schema.MOVERS` in its order.

    Rows as `slices.needs` says, in any order; those after `as_of` are not looked at. `stats` are rows of
    `schema.VENUE_STATS`, `markets` has market_key and tick_size. With `venue` where quotes and trades have it.
    """
    found = moves(reference(quotes, trades, gaps), trades, stats, as_of=as_of, windows=windows)
    venues = market_venues(quotes, trades).collect()
    known = scored(found, markets).join(venues, on="market_key", how="left", maintain_order="left")
    return known.select(*MOVERS.columns, *(name for name in venues.columns if name == "venue"))


def moves(
    prices: pl.LazyFrame,
    trades: pl.LazyFrame,
    stats: pl.LazyFrame | None = None,
    *,
    as_of: datetime,
    windows: Mapping[str, timedelta] = WINDOWS,
) -> pl.DataFrame:
    """`schema.MOVERS` without its scores and ranks, by window and market: one row for each market of `prices`.

    `prices` are rows of `prices.reference` in its order. Block trades are no trades of the tape: neither `trades`
    nor a volume counts them.
    """
    rows = prices.filter(pl.col("event_time") <= moment(as_of)).collect()
    spans = {name: slices(as_of, window) for name, window in windows.items()}
    since = min(needs(as_of, window).start for window in windows.values())
    held = _held(rows.lazy(), since, as_of).collect()
    common = _latest(rows.lazy()).join(_tape(trades, spans, as_of), on="market_key", how="left")
    for facts in (_watched(held, spans, as_of), _gap_flags(rows, spans), _reported(stats, as_of)):
        common = common.join(facts, on="market_key", how="left")
    markets = common.sort("market_key").collect()
    sliced = _sliced(held, spans).collect()
    each = [_window(markets.lazy(), sliced.lazy(), name, span, as_of) for name, span in spans.items()]
    return pl.concat(pl.collect_all(each)).sort("window", "market_key")


def _window(markets: pl.LazyFrame, sliced: pl.LazyFrame, name: str, spans: Slices, as_of: datetime) -> pl.LazyFrame:
    """The rows of one window, from the facts of its two slices and those of the markets."""
    joined = markets.with_columns(
        pl.col(f"{name}/coverage").alias("coverage_window"),
        pl.col(f"{name}/trades").alias("trades").fill_null(0),
        pl.col(f"{name}/notional").alias("notional_usd").fill_null(0.0),
        pl.col(f"{name}/touched").alias("is_touched").fill_null(False),
        pl.col(f"{name}/across").alias("is_across_gap").fill_null(False),
    )
    for side in ("then", "now"):
        facts = sliced.filter(pl.col("slice") == f"{name}/{side}")
        sided = facts.select("market_key", pl.col(*_SLICE_FACTS).name.suffix(f"_{side}"))
        joined = joined.join(sided, on="market_key", how="left")
    return (
        joined.with_columns(pl.col("coverage_then", "coverage_now", "coverage_window").fill_null(0.0))
        .with_columns(verdict=_verdict(), **_volume())
        .with_columns(move_pp=_move())
        .with_columns(effective_move_pp=_effective(), window=pl.lit(name), as_of=moment(as_of))
        .with_columns(
            first_seq=pl.min_horizontal("first_seq_then", "first_seq_now"),
            last_seq=pl.max_horizontal("last_seq_then", "last_seq_now"),
            spike_ratio=pl.lit(None, dtype=pl.Float64()),
            rule_version=pl.lit(RULE_VERSION),
        )
        .select(name for name in MOVERS.columns if name not in _SCORED)
    )


_SLICE_FACTS: Final = ("coverage", "price", "spread", "rule", "first_seq", "last_seq")
_SCORED: Final = ("boundary", "biggest", "classic", "biggest_rank", "classic_rank")


def _verdict() -> pl.Expr:
    """Whether the two slices can be compared, or the first reason why not."""
    is_thin = pl.min_horizontal("coverage_then", "coverage_now") < MIN_COVERAGE
    return (
        pl.when("is_touched").then(pl.lit(GAP_IN_SLICE))
        .when(is_thin).then(pl.lit(INSUFFICIENT_COVERAGE))
        .when(pl.col("rule_then") != pl.col("rule_now")).then(pl.lit(RULE_CHANGED))
        .otherwise(pl.lit(OK))
    )  # fmt: skip


def _move() -> pl.Expr:
    """The difference of the medians, pp; adding zero turns -0 into 0."""
    difference = pl.col("price_now") - pl.col("price_then")
    return pl.when(pl.col("verdict") == OK).then((difference * 100).round(_DIGITS) + 0.0)


def _effective() -> pl.Expr:
    """The move less what the two half spreads may explain."""
    move, spreads = pl.col("move_pp"), pl.col("spread_now") + pl.col("spread_then")
    left = (move.abs() - spreads / 2 * 100).clip(0)
    return (move.sign() * left).round(_DIGITS) + 0.0


def _volume() -> dict[str, pl.Expr]:
    """The day's volume and where it comes from; ours only if the market was watched for most of the day.

    A day without any trade is not ours to call 0: polls, and a book without its trades, tell of none either.
    """
    seen = pl.when(pl.col("watched") >= MIN_COVERAGE, pl.col("day_notional") > 0).then("day_notional")
    in_usd, in_contracts = pl.col("reported_usd"), pl.col("reported_contracts") * pl.col("price_now")
    basis = (
        pl.when(seen.is_not_null()).then(pl.lit("observed"))
        .when(in_usd.is_not_null()).then(pl.lit("venue_reported"))
        .when(in_contracts.is_not_null()).then(pl.lit("venue_contracts"))
    )  # fmt: skip
    return {"volume_24h_usd": pl.coalesce(seen, in_usd, in_contracts), "volume_basis": basis}


def _held(rows: pl.LazyFrame, since: datetime, as_of: datetime) -> pl.LazyFrame:
    """The step function from `since` to `as_of`, in microseconds, and the range of seq that each state rests on."""
    used = [pl.col("quote_seq"), pl.when(pl.col("rule") == PriceRule.LAST_TRADE).then("last_trade_seq")]
    return holds(rows, since, as_of).select(
        "market_key", "price", "spread", "is_live",
        start=pl.col("from_time").to_physical(),
        end=pl.col("until_time").to_physical(),
        is_mid=pl.col("rule") == PriceRule.MID,
        first_seq=pl.min_horizontal(*used),
        last_seq=pl.max_horizontal(*used),
    )  # fmt: skip


def _within(span: Span) -> pl.Expr:
    """How much of a row of `_held` lies in `span`, microseconds."""
    start, end = (moment(edge).to_physical() for edge in span)
    return (pl.min_horizontal("end", end) - pl.max_horizontal("start", start)).clip(0)


def _length(span: Span) -> int:
    return (span.end - span.start) // timedelta(microseconds=1)


def _latest(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The quote in force after the last row of each market: market_key, bid, ask."""
    is_market = pl.col("is_tick").any().over("market_key")
    last = rows.filter(is_market).unique("market_key", keep="last", maintain_order=True)
    return last.select("market_key", "bid", "ask")


def _watched(held: pl.DataFrame, spans: Mapping[str, Slices], as_of: datetime) -> pl.LazyFrame:
    """By market: the covered share of each window, and the share of the last day with a live feed."""
    has_price = pl.col("price").is_not_null()
    shares = [
        share(pl.when(has_price).then(_within(span.whole)).sum(), _length(span.whole)).alias(f"{name}/coverage")
        for name, span in spans.items()
    ]
    day = Span(as_of - DAY, as_of)
    watched = share(pl.when("is_live").then(_within(day)).sum(), _length(day))
    return held.lazy().group_by("market_key").agg(*shares, watched=watched)


def _tape(trades: pl.LazyFrame, spans: Mapping[str, Slices], as_of: datetime) -> pl.LazyFrame:
    """By market: trades and dollars of each window and of the last day, block trades aside."""
    dollars = whole(pl.col("price") * pl.col("size"))
    recent = trades.filter(pl.col("event_time") <= moment(as_of), ~pl.col("is_block_trade").fill_null(False))
    counted = []
    for name, span in spans.items():
        is_in = pl.col("event_time") > moment(span.whole.start)
        counted.append(is_in.sum().cast(pl.Int64).alias(f"{name}/trades"))
        counted.append(decimal(dollars.filter(is_in).sum()).alias(f"{name}/notional"))
    day = decimal(dollars.filter(pl.col("event_time") > moment(as_of - DAY)).sum())
    return distinct_trades(recent).group_by("market_key").agg(*counted, day_notional=day)


def _gap_flags(rows: pl.DataFrame, spans: Mapping[str, Slices]) -> pl.LazyFrame:
    """By market and window: whether a gap touches a slice, and whether one lies strictly between the slices."""
    flags = []
    for name, span in spans.items():
        touched = _overlaps(span.then) | _overlaps(span.now)
        flags.append(touched.any().alias(f"{name}/touched"))
        flags.append((_overlaps(span.between) & ~touched).any().alias(f"{name}/across"))
    return _gaps(rows.lazy()).group_by("market_key").agg(*flags)


def _gaps(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Every gap of every market: market_key, start, end; one without an end lasts to the market's next quote."""
    quote_time = pl.when(pl.col("kind") == "quote").then("event_time").backward_fill()
    quote_market = pl.when(pl.col("kind") == "quote").then("market_key").backward_fill()
    next_quote = pl.when(quote_market == pl.col("market_key")).then(quote_time)
    ends = rows.select("market_key", "kind", start="event_time", end=pl.coalesce("gap_end", next_quote))
    return ends.filter(pl.col("kind") == "gap")


def _overlaps(span: Span) -> pl.Expr:
    """Whether the gap [start, end) meets (span.start, span.end]; no end is no limit."""
    return (pl.col("start") < moment(span.end)) & (pl.col("end") > moment(span.start)).fill_null(True)


def _reported(stats: pl.LazyFrame | None, as_of: datetime) -> pl.LazyFrame:
    """By market: what the venue last said of the day's volume in each unit, if it said so within a day.

    A row that leaves a figure out, as a ticker's does, takes nothing back.
    """
    said = VENUE_STATS.empty() if stats is None else stats
    time = pl.col("received_time")
    recent = said.filter(time > moment(as_of - DAY), time <= moment(as_of)).sort("received_time", "seq")
    return recent.group_by("market_key").agg(
        reported_usd=pl.col("volume_24h_usd").last(ignore_nulls=True),
        reported_contracts=pl.col("volume_24h_contracts").last(ignore_nulls=True),
    )


def _sliced(held: pl.DataFrame, spans: Mapping[str, Slices]) -> pl.LazyFrame:
    """By slice, named `<window>/then` or `/now`, and market: coverage, price, spread, rule, first_seq, last_seq."""
    parts = [
        _cut(held.lazy(), span, f"{name}/{side}")
        for name, window in spans.items()
        for side, span in (("then", window.then), ("now", window.now))
    ]
    is_first = (pl.col("market_key") != pl.col("market_key").shift(1)) | (pl.col("slice") != pl.col("slice").shift(1))
    rows = pl.concat(parts).with_columns(id=is_first.fill_null(True).cast(pl.UInt32).cum_sum()).set_sorted("id")
    defined = pl.col("time").filter(pl.col("price").is_not_null())
    is_mid = 2 * pl.col("time").filter("is_mid").sum() >= defined.sum()
    rule = pl.when(is_mid).then(pl.lit(PriceRule.MID.value)).otherwise(pl.lit(PriceRule.LAST_TRADE.value))
    facts = rows.group_by("id", maintain_order=True).agg(
        pl.col("slice", "market_key").first(),
        coverage=defined.sum() / pl.col("width").first(),
        rule=pl.when(defined.len() > 0).then(rule),
        first_seq=pl.col("first_seq").min(),
        last_seq=pl.col("last_seq").max(),
    )
    for value in ("price", "spread"):
        facts = facts.join(weighted_median(rows, "id", value, "time"), on="id", how="left")
    return facts.drop("id")


def _cut(held: pl.LazyFrame, span: Span, name: str) -> pl.LazyFrame:
    """The rows of `held` that last in `span`, `time` being how long."""
    timed = held.with_columns(time=_within(span)).filter(pl.col("time") > 0)
    return timed.select(
        "market_key", "time", "price", "is_mid", "first_seq", "last_seq",
        slice=pl.lit(name),
        width=pl.lit(_length(span)),
        spread=pl.when(pl.col("price").is_not_null()).then("spread"),
    )  # fmt: skip


def weighted_median(rows: pl.LazyFrame, key: str, value: str, weight: str) -> pl.LazyFrame:
    """`key` and the weighted median of `value`, nulls aside; the mean of two where the middle falls between them.

    Weights are positive integers. In order of value the weights tile a line; the median is what lies over the
    middle of its key's stretch. On a tie both neighbours touch it, so mirrored values have the mirrored median.
    """
    at, after = pl.col(key), pl.col("right")
    tiled = (
        rows.filter(pl.col(value).is_not_null())
        .select(key, value, weight)
        .sort(key, value)
        .with_columns(right=pl.col(weight).cum_sum())
        .with_columns(left=after - pl.col(weight))
        .with_columns(
            first=pl.when((at != at.shift(1)).fill_null(True)).then("left").forward_fill(),
            last=pl.when((at != at.shift(-1)).fill_null(True)).then("right").backward_fill(),
        )
    )
    double_middle = pl.col("first") + pl.col("last")
    touching = tiled.filter((2 * pl.col("left") <= double_middle) & (2 * pl.col("right") >= double_middle))
    return touching.set_sorted(key).group_by(key, maintain_order=True).agg(pl.col(value).mean())

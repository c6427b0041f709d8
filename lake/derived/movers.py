"""Every market's move over a look-back window, and how well it was seen.

A move compares two short slices by their time-weighted medians, so neither a flicker nor the last tick
decides it; a slice that was not watched, or that a gap touches, makes the row insufficient data and never
a zero. Nothing is left out here, and nothing ranked: `lake.derived.scores` does that.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from lake.derived.exact import decimal, share, whole
from lake.derived.prices import EPSILON, MAX_SPREAD, distinct_trades, holds, market_venues, moment, reference
from lake.derived.scores import scored
from lake.derived.slices import DAY, WINDOWS, Slices, Span, needs, slices
from lake.schema import BAR_INTERVALS, HISTORY, MOVERS, VENUE_STATS
from lake.vocab import PriceRule

RULE_VERSION: Final = "moves-3"
"""Names every number and rule of this file, `prices`, `slices` and `scores`; raised when one of them changes."""

MIN_COVERAGE: Final = 0.8
"""Least covered share of a slice, and least watched share of a day whose volume counts as observed."""

HISTORY_INTERVAL: Final = "5m"
HISTORY_AGE: Final = timedelta(minutes=10)
"""How long before a window's opening a bar of the venue's history may have ended."""

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
    history: pl.LazyFrame | None = None,
    *,
    as_of: datetime,
    windows: Mapping[str, timedelta] = WINDOWS,
) -> pl.DataFrame:
    """Every market of `quotes` and `trades`, scored and ranked over each window: `schema.MOVERS` in its order.

    Rows as `slices.needs` says, in any order; those after `as_of` are not looked at. `stats` are rows of
    `schema.VENUE_STATS`, `history` of `schema.HISTORY`, whose bars serve the former price where nothing was watched;
    `markets` has market_key and tick_size. With `venue` where quotes and trades have it.
    """
    found = moves(reference(quotes, trades, gaps), trades, stats, history, as_of=as_of, windows=windows)
    venues = market_venues(quotes, trades).collect()
    known = scored(found, markets).join(venues, on="market_key", how="left", maintain_order="left")
    return known.select(*MOVERS.columns, *(name for name in venues.columns if name == "venue"))


def moves(
    prices: pl.LazyFrame,
    trades: pl.LazyFrame,
    stats: pl.LazyFrame | None = None,
    history: pl.LazyFrame | None = None,
    *,
    as_of: datetime,
    windows: Mapping[str, timedelta] = WINDOWS,
) -> pl.DataFrame:
    """`schema.MOVERS` without its scores and ranks, by window and market: one row for each market of `prices`.

    `prices` are rows of `prices.reference` in its order. Block trades are no trades of the tape: neither `trades`
    nor a volume counts them.
    """
    rows = prices.filter(pl.col("event_time") <= moment(as_of)).collect()
    since = min(needs(as_of, window).start for window in windows.values())
    whole_time = Stretch(Span(since, as_of), rows, trades.filter(pl.col("event_time") <= moment(as_of)))
    return moves_of([whole_time], [], stats, history, as_of=as_of, windows=windows)


class Stretch(NamedTuple):
    """Some time of which every row is at hand."""

    span: Span  # [start, end); with its end, if that is the instant of the board
    prices: pl.DataFrame  # rows of `prices.reference` in its order, of this time and of what was carried into it
    trades: pl.LazyFrame  # rows of `schema.TRADES`; those of other times do not count


class WideGap(NamedTuple):
    """A gap of the whole venue: it hits every market, also one that was not known then."""

    start: datetime
    end: datetime | None  # None = each market's next quote
    seq: int


class Between(NamedTuple):
    """Some time of which only sums are known. No wide gap without an end starts in it."""

    span: Span
    sums: pl.LazyFrame  # as `blocks.between` makes them


def moves_of(
    stretches: Sequence[Stretch],
    betweens: Sequence[Between],
    stats: pl.LazyFrame | None = None,
    history: pl.LazyFrame | None = None,
    *,
    wide: Sequence[WideGap] = (),
    as_of: datetime,
    windows: Mapping[str, timedelta] = WINDOWS,
) -> pl.DataFrame:
    """`moves`, from stretches and what lies between them, in order of time.

    Together they tile the time that `slices.needs` names; each slice, and each start of a window or of the day, lies in
    a stretch, and so does each start of a wide gap without an end. The answer is that of `moves` over all rows, to the
    last bit.
    """
    spans = {name: slices(as_of, window) for name, window in windows.items()}
    held = pl.concat([_held(each.prices.lazy(), each.span) for each in stretches]).collect()
    sums = [_watched(held, spans, as_of), *(_tape(each, spans, as_of) for each in stretches)]
    flags = [_gap_flags(each, spans, wide) for each in stretches]
    for each in betweens:
        sums.append(_sums_between(each, spans, as_of))
        flags.append(_flags_between(each, spans))
    common = _latest(stretches, betweens)
    flags += [_wide_flags(gap, common, stretches, betweens, spans) for gap in wide if gap.end is None]
    for facts in (_added(sums, spans), _any_flag(flags), _reported(stats, as_of), _former(history, spans)):
        common = common.join(facts, on="market_key", how="left")
    markets = common.sort("market_key").collect()
    sliced = _sliced(held, spans).collect()
    each_window = [
        _window(markets.with_columns(_wide(wide, name, span)).lazy(), sliced.lazy(), name, span, as_of)
        for name, span in spans.items()
    ]
    return pl.concat(pl.collect_all(each_window)).sort("window", "market_key")


def _window(markets: pl.LazyFrame, sliced: pl.LazyFrame, name: str, spans: Slices, as_of: datetime) -> pl.LazyFrame:
    """The rows of one window, from the facts of its two slices and those of the markets."""
    joined = markets.with_columns(
        pl.col(f"{name}/coverage").alias("coverage_window"),
        pl.col(f"{name}/trades").alias("trades").fill_null(0),
        pl.col(f"{name}/notional").alias("notional_usd").fill_null(0.0),
        pl.col(f"{name}/touched_then", f"{name}/touched_now", f"{name}/across")
        .fill_null(False)
        .name.map(lambda column: column.rpartition("/")[2]),
        pl.col(f"{name}/former").alias("former"),
    )
    for side in ("then", "now"):
        facts = sliced.filter(pl.col("slice") == f"{name}/{side}")
        sided = facts.select("market_key", pl.col(*_SLICE_FACTS).name.suffix(f"_{side}"))
        joined = joined.join(sided, on="market_key", how="left")
    return (
        joined.with_columns(pl.col("coverage_then", "coverage_now", "coverage_window", "live_then").fill_null(0.0))
        .with_columns(is_former=(pl.col("live_then") < MIN_COVERAGE) & pl.col("former").is_not_null())
        .with_columns(**_then(), is_touched=pl.col("touched_now") | (pl.col("touched_then") & ~pl.col("is_former")))
        .with_columns(is_across_gap=pl.col("across") & ~pl.col("is_touched"))
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


_SLICE_FACTS: Final = ("coverage", "live", "price", "spread", "rule", "first_seq", "last_seq")
_SCORED: Final = ("boundary", "biggest", "classic", "biggest_rank", "classic_rank")


def _then() -> dict[str, pl.Expr]:
    """The former price: of the slice, or of the venue's own history where the slice was not watched."""
    rule = pl.lit(PriceRule.VENUE_HISTORY.value)
    return {
        "price_then": pl.when("is_former").then("former").otherwise("price_then"),
        "rule_then": pl.when("is_former").then(rule).otherwise("rule_then"),
        "spread_then": pl.when(~pl.col("is_former")).then("spread_then"),
    }


def _former(history: pl.LazyFrame | None, spans: Mapping[str, Slices]) -> pl.LazyFrame:
    """By market and window: the price that the venue's history gives for the window's opening; null = none.

    That of the newest bar with a price which ended by then, if that is no longer ago than `HISTORY_AGE`.
    """
    bars = HISTORY.empty() if history is None else history
    end = pl.col("bar_start") + timedelta(seconds=BAR_INTERVALS[HISTORY_INTERVAL])
    near = {
        name: end.is_between(moment(span.whole.start - HISTORY_AGE), moment(span.whole.start))
        for name, span in spans.items()
    }
    bid, ask = pl.col("bid_close"), pl.col("ask_close")
    has_middle = (bid <= ask) & (ask - bid <= MAX_SPREAD + EPSILON)
    price = pl.when(has_middle).then(((bid + ask) / 2).round(_DIGITS)).otherwise("close")
    columns = ("market_key", "bar_start", "seq", "close", "bid_close", "ask_close")
    rows = bars.filter(pl.col("interval") == HISTORY_INTERVAL, pl.any_horizontal(*near.values())).select(columns)
    versions = rows.sort("market_key", "bar_start", "seq")
    newest = versions.unique(["market_key", "bar_start"], keep="last", maintain_order=True).with_columns(price=price)
    former = [pl.col("price").filter(is_near).last().alias(f"{name}/former") for name, is_near in near.items()]
    return newest.drop_nulls("price").group_by("market_key", maintain_order=True).agg(former)


def _verdict() -> pl.Expr:
    """Whether the two slices can be compared, or the first reason why not."""
    then = pl.when("is_former").then(1.0).otherwise("coverage_then")
    is_thin = pl.min_horizontal(then, "coverage_now") < MIN_COVERAGE
    return (
        pl.when("is_touched").then(pl.lit(GAP_IN_SLICE))
        .when(is_thin).then(pl.lit(INSUFFICIENT_COVERAGE))
        .when((pl.col("rule_then") != pl.col("rule_now")) & ~pl.col("is_former")).then(pl.lit(RULE_CHANGED))
        .otherwise(pl.lit(OK))
    )  # fmt: skip


def _move() -> pl.Expr:
    """The difference of the medians, pp; adding zero turns -0 into 0."""
    difference = pl.col("price_now") - pl.col("price_then")
    return pl.when(pl.col("verdict") == OK).then((difference * 100).round(_DIGITS) + 0.0)


def _effective() -> pl.Expr:
    """The move less what the two half spreads may explain; the spread now counts for an unknown one of then."""
    move, spreads = pl.col("move_pp"), pl.col("spread_now") + pl.coalesce("spread_then", "spread_now")
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


def _held(rows: pl.LazyFrame, span: Span) -> pl.LazyFrame:
    """The step function over `span`, in microseconds, and the range of seq that each state rests on."""
    used = [pl.col("quote_seq"), pl.when(pl.col("rule") == PriceRule.LAST_TRADE).then("last_trade_seq")]
    return holds(rows, *span).select(
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


def _latest(stretches: Sequence[Stretch], betweens: Sequence[Between]) -> pl.LazyFrame:
    """Every market with a quote or a trade, and its quote in force at the end: market_key, bid, ask."""
    ticked = [each.prices.lazy().filter("is_tick").select("market_key") for each in stretches]
    ticked += [each.sums.filter(pl.col("ticks") > 0).select("market_key") for each in betweens]
    last = stretches[-1].prices.lazy().unique("market_key", keep="last", maintain_order=True)
    markets = pl.concat(ticked).unique("market_key")
    return markets.join(last.select("market_key", "bid", "ask"), on="market_key", how="left")


def _watched(held: pl.DataFrame, spans: Mapping[str, Slices], as_of: datetime) -> pl.LazyFrame:
    """By market, microseconds: covered of each window, and live of the last day."""
    has_price = pl.col("price").is_not_null()
    covered = [
        pl.when(has_price).then(_within(span.whole)).sum().alias(f"{name}/covered") for name, span in spans.items()
    ]
    live = pl.when("is_live").then(_within(Span(as_of - DAY, as_of))).sum()
    return held.lazy().group_by("market_key").agg(*covered, live=live)


def _tape(stretch: Stretch, spans: Mapping[str, Slices], as_of: datetime) -> pl.LazyFrame:
    """By market: trades and dollars in millionths of each window and of the last day, block trades aside."""
    time, (start, end) = pl.col("event_time"), stretch.span
    is_over = time > moment(end) if end == as_of else time >= moment(end)
    is_block = pl.col("is_block_trade").fill_null(False)
    within = stretch.trades.filter(time >= moment(start), ~is_over, ~is_block)
    dollars = whole(pl.col("price") * pl.col("size"))
    counted = []
    for name, span in spans.items():
        is_in = time > moment(span.whole.start)
        counted.append(is_in.sum().cast(pl.Int64).alias(f"{name}/trades"))
        counted.append(dollars.filter(is_in).sum().alias(f"{name}/dollars"))
    day = dollars.filter(time > moment(as_of - DAY)).sum()
    return distinct_trades(within).group_by("market_key").agg(*counted, day_dollars=day)


def _sums_between(between: Between, spans: Mapping[str, Slices], as_of: datetime) -> pl.LazyFrame:
    """What `_watched` and `_tape` count, of time without rows: it is in a window whole or not at all."""
    columns = {"covered": "covered", "trades": "tape_trades", "dollars": "tape_notional"}
    counted = [
        pl.col(name).alias(f"{window}/{word}")
        for window, span in spans.items()
        if between.span.start >= span.whole.start
        for word, name in columns.items()
    ]
    if between.span.start >= as_of - DAY:
        counted += [pl.col("live"), pl.col("tape_notional").alias("day_dollars")]
    return between.sums.select("market_key", *counted)


def _added(sums: Sequence[pl.LazyFrame], spans: Mapping[str, Slices]) -> pl.LazyFrame:
    """By market: coverage, trades and dollars of each window, the watched share and the dollars of the last day."""
    added = pl.concat(sums, how="diagonal").group_by("market_key").agg(pl.all().sum())
    shown = [share(pl.col("live"), DAY // timedelta(microseconds=1)).alias("watched")]
    for name, span in spans.items():
        shown.append(share(pl.col(f"{name}/covered"), _length(span.whole)).alias(f"{name}/coverage"))
        shown.append(pl.col(f"{name}/trades"))
        shown.append(decimal(pl.col(f"{name}/dollars")).alias(f"{name}/notional"))
    return added.select("market_key", *shown, day_notional=decimal(pl.col("day_dollars")))


def _gap_flags(stretch: Stretch, spans: Mapping[str, Slices], wide: Sequence[WideGap]) -> pl.LazyFrame:
    """By market and window: whether a gap touches each of its slices, and whether one lies between them.

    Within a stretch a gap ends with it at the latest: what goes on is carried into the time after it.
    """
    rows = gap_spans(stretch.prices.lazy(), wide)
    if stretch.span.end != max(span.whole.end for span in spans.values()):
        rows = rows.with_columns(end=pl.min_horizontal("end", moment(stretch.span.end)))
    return _met(rows, spans)


def _met(rows: pl.LazyFrame, spans: Mapping[str, Slices]) -> pl.LazyFrame:
    """The flags of `_gap_flags`, of gaps as `gap_spans` gives them."""
    flags = []
    for name, span in spans.items():
        flags.append(_overlaps(span.then).any().alias(f"{name}/touched_then"))
        flags.append(_overlaps(span.now).any().alias(f"{name}/touched_now"))
        flags.append(_overlaps(span.between).any().alias(f"{name}/across"))
    return rows.group_by("market_key").agg(*flags)


def _wide_flags(
    gap: WideGap,
    markets: pl.LazyFrame,
    stretches: Sequence[Stretch],
    betweens: Sequence[Between],
    spans: Mapping[str, Slices],
) -> pl.LazyFrame:
    """The flags of `_gap_flags` of every one of `markets`, of a gap that lasts until the market's next quote.

    Of a quote between stretches any instant there will do, as all edges that a gap may meet lie in stretches.
    """
    time, start = pl.col("event_time"), moment(gap.start)
    is_after = (time > start) | ((time == start) & (pl.col("seq") >= gap.seq))
    quotes = [
        each.prices.lazy().filter(is_after, pl.col("kind") == "quote").select("market_key", end="event_time")
        for each in stretches
    ]
    quotes += [
        each.sums.drop_nulls("quote_time").select("market_key", end="quote_time")
        for each in betweens
        if each.span.start >= gap.start
    ]
    ends = pl.concat(quotes).group_by("market_key").agg(pl.col("end").min())
    hit = markets.select("market_key", start=start).join(ends, on="market_key", how="left")
    return _met(hit, spans)


def _flags_between(between: Between, spans: Mapping[str, Slices]) -> pl.LazyFrame:
    across = [
        pl.col("has_gap").alias(f"{name}/across")
        for name, span in spans.items()
        if between.span.start >= span.whole.start
    ]
    return between.sums.select("market_key", *across)


def _wide(gaps: Sequence[WideGap], name: str, spans: Slices) -> list[pl.Expr]:
    """The flags of `_gap_flags`, set for every market where a gap of the venue with an end meets the span."""
    met = {"touched_then": spans.then, "touched_now": spans.now, "across": spans.between}
    ended = [Span(gap.start, gap.end) for gap in gaps if gap.end is not None]
    return [
        pl.col(f"{name}/{flag}").fill_null(False) | any(gap.start < span.end and gap.end > span.start for gap in ended)
        for flag, span in met.items()
    ]


def _any_flag(flags: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The flags of the same market, put together; what no part tells of is false."""
    return pl.concat(flags, how="diagonal").group_by("market_key").agg(pl.all().any().fill_null(False))


def gap_spans(rows: pl.LazyFrame, but: Sequence[WideGap] = ()) -> pl.LazyFrame:
    """Every gap of every market: market_key, start, end; one without an end lasts to the market's next quote.

    `rows` are rows of `prices.reference` in its order. A null end: no quote came by the end of the rows. The wide gaps
    `but` are left out: carried on, one without an end meets markets whose next quote is no longer known.
    """
    quote_time = pl.when(pl.col("kind") == "quote").then("event_time").backward_fill()
    quote_market = pl.when(pl.col("kind") == "quote").then("market_key").backward_fill()
    next_quote = pl.when(quote_market == pl.col("market_key")).then(quote_time)
    ends = rows.select(
        "market_key", "kind", "seq", "gap_end", start="event_time", end=pl.coalesce("gap_end", next_quote)
    )
    found = ends.filter(pl.col("kind") == "gap")
    for gap in but:
        if gap.end is None:
            is_it = (pl.col("start") == moment(gap.start)) & (pl.col("seq") == gap.seq) & pl.col("gap_end").is_null()
            found = found.filter(~is_it)
    return found.drop("seq", "gap_end")


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
    """By slice, named `<window>/then` or `/now`, and market: `_SLICE_FACTS`."""
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
        pl.col("width").first(),
        coverage=defined.sum(),
        live=pl.col("time").filter("is_live").sum(),
        rule=pl.when(defined.len() > 0).then(rule),
        first_seq=pl.col("first_seq").min(),
        last_seq=pl.col("last_seq").max(),
    )
    facts = facts.with_columns(pl.col("coverage", "live") / pl.col("width"))
    for value in ("price", "spread"):
        facts = facts.join(weighted_median(rows, "id", value, "time"), on="id", how="left")
    return facts.drop("id", "width")


def _cut(held: pl.LazyFrame, span: Span, name: str) -> pl.LazyFrame:
    """The rows of `held` that last in `span`, `time` being how long."""
    timed = held.with_columns(time=_within(span)).filter(pl.col("time") > 0)
    return timed.select(
        "market_key", "time", "price", "is_live", "is_mid", "first_seq", "last_seq",
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

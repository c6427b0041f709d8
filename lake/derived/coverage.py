"""What share of a window a market was watched, from the gaps, and what kept it from being watched.

Each instant counts once, however many gaps of the market and of its whole venue lie over it. A gap that was announced
without an end and written again with it is one gap (`prices.distinct_gaps`); one that never got an end lasts until the
market's next quote, as in `prices.reference`, else to the window's end.
"""

from typing import Final

import polars as pl

from lake.clock import SECOND_US
from lake.derived.exact import share
from lake.derived.prices import distinct_gaps
from lake.schema import TIME

UNFOLLOWED: Final = "not_followed_yet"
"""The reason of the time before a market's feed began; all others are `vocab.Gap`."""

_WINDOW: Final = ("market_key", "start_time", "end_time")


def coverage(unseen: pl.LazyFrame, markets: pl.LazyFrame, windows: pl.LazyFrame) -> pl.LazyFrame:
    """The watched share of every window [start_time, end_time) for every market, by market, start and end.

    `unseen` as `unseen` makes it, `markets` has market_key, `windows` has start_time and end_time, each longer than
    nothing. market_key, start_time, end_time, coverage (0 to 1), unseen_seconds.
    """
    each = markets.select("market_key").unique().join(windows.select(*_WINDOW[1:]).unique(), how="cross")
    lost = _within(unseen, windows).group_by(_WINDOW).agg(lost=_joint())
    known = each.join(lost, on=_WINDOW, how="left").with_columns(pl.col("lost").fill_null(0))
    width = (pl.col("end_time") - pl.col("start_time")).dt.total_microseconds()
    return known.select(
        *_WINDOW, coverage=(width - pl.col("lost")) / width, unseen_seconds=share(pl.col("lost"), SECOND_US)
    ).sort(*_WINDOW)


def reasons(unseen: pl.LazyFrame, windows: pl.LazyFrame) -> pl.LazyFrame:
    """How long each reason kept a market unseen in each window: market_key, start_time, end_time, reason, seconds.

    The longest first. Where two reasons overlap the time counts for both, so they may add up to more than is unseen.
    """
    lost = _within(unseen, windows).group_by(*_WINDOW, "reason").agg(lost=_joint())
    found = lost.select(*_WINDOW, "reason", seconds=share(pl.col("lost"), SECOND_US))
    return found.sort(*_WINDOW, "seconds", "reason", descending=[False] * 3 + [True, False])


def unseen(
    gaps: pl.LazyFrame,
    markets: pl.LazyFrame,
    quotes: pl.LazyFrame | None = None,
    followed: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """The stretches [start, end) in which each of `markets` was not seen: market_key, start, end, reason.

    They overlap as the gaps do; a null end is none. `gaps` are rows of `schema.GAPS` in any order, each once or more; a
    gap without a market hits those of its `venue`, and all where either frame lacks that column. `quotes` (market_key,
    event_time, seq) end the gaps without an end. `followed` (market_key, event_time) says when a market's feed began:
    before, it was not seen; a market that is not in it was seen all along.
    """
    each = spread(gaps, markets)
    ended = each if quotes is None else _ended(each, quotes)
    known = ended.select("market_key", "start", "end", "reason")
    if followed is None:
        return known
    wanted = followed.join(markets.select("market_key").unique(), on="market_key", how="semi")
    before = wanted.select(
        "market_key", start=pl.lit(0, dtype=pl.Int64()).cast(TIME), end="event_time", reason=pl.lit(UNFOLLOWED)
    )
    return pl.concat([known, before])


def spread(gaps: pl.LazyFrame, markets: pl.LazyFrame) -> pl.LazyFrame:
    """Each gap once for each market that it hits: market_key, start, end (null = none), reason, seq."""
    known, each = distinct_gaps(gaps), markets.unique("market_key")
    own, wide = known.filter(pl.col("market_key").is_not_null()), known.filter(pl.col("market_key").is_null())
    by_venue = all("venue" in frame.collect_schema() for frame in (wide, each))
    wide = wide.drop("market_key")
    hit = wide.join(each.select("market_key", "venue"), on="venue") if by_venue else wide.join(each, how="cross")
    columns = ["market_key", "reason", "seq", pl.col("start_time").alias("start"), pl.col("end_time").alias("end")]
    of_them = own.join(each.select("market_key"), on="market_key", how="semi")
    return pl.concat([of_them.select(columns), hit.select(columns)]).select(
        "market_key", "start", "end", "reason", "seq"
    )


def _ended(each: pl.LazyFrame, quotes: pl.LazyFrame) -> pl.LazyFrame:
    """The gaps, those without an end ended at the market's first quote that is not before them in time and seq."""
    is_open = pl.col("end").is_null()
    waiting = each.filter(is_open).with_columns(is_quote=pl.lit(False))
    ends = quotes.join(waiting.select("market_key").unique(), on="market_key", how="semi").select(
        "market_key", "seq", start="event_time", is_quote=pl.lit(True)
    )
    ordered = pl.concat([waiting, ends], how="diagonal").sort("market_key", "start", "seq", "is_quote")
    following = pl.struct("market_key", time="start")
    quote = pl.when("is_quote").then(following).backward_fill()
    is_same = quote.struct.field("market_key") == pl.col("market_key")
    found = ordered.with_columns(end=pl.when(is_same).then(quote.struct.field("time"))).filter(~pl.col("is_quote"))
    return pl.concat([each.filter(~is_open), found.select("market_key", "start", "end", "reason", "seq")])


def _within(unseen: pl.LazyFrame, windows: pl.LazyFrame) -> pl.LazyFrame:
    """The stretches cut to each window that they meet, in order of their starts."""
    pairs = unseen.join(windows.select(*_WINDOW[1:]).unique(), how="cross")
    is_over = (pl.col("end") <= pl.col("start_time")).fill_null(False)
    met = pairs.filter(pl.col("start") < pl.col("end_time"), ~is_over)
    cut = met.with_columns(start=pl.max_horizontal("start", "start_time"), end=pl.min_horizontal("end", "end_time"))
    return cut.filter(pl.col("start") < pl.col("end")).sort("start")


def _joint() -> pl.Expr:
    """The microseconds that the stretches of a group cover together, sorted by start."""
    start, end = pl.col("start").to_physical(), pl.col("end").to_physical()
    return (end - pl.max_horizontal(start, end.cum_max().shift(1))).clip(0).sum()

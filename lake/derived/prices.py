"""Quotes, trades and gaps as one step function of the reference price, market by market.

The rule (docs/signals.md): the middle of a two-sided book that is at most 10 cents wide; in a wider
book the last trade, if it is younger than 15 minutes and inside the quotes; otherwise nothing. Never
one half by default, never one side. Bars and movers are sums over this function and decide nothing
about prices by themselves.

A quote is in force until the market's next quote, or until a gap of the market or of its whole venue
starts. Nothing comes back at a gap's end: the collector writes a fresh quote at the first good state.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from lake.schema import GAPS, QUOTES, TIME, TRADES
from lake.vocab import PriceRule

MAX_SPREAD: Final = 0.10
"""The widest book that has a middle."""

TRADE_AGE: Final = timedelta(minutes=15)
"""From this age on, a trade is no price."""

EPSILON: Final = 1e-9
"""Prices are decimals of at most six digits; a smaller difference is the binary fraction's."""

KIND: Final = pl.Enum(["gap", "quote", "trade", "expiry"])
"""What made a row of `reference`, in the order of rows that share time and seq."""

RULE: Final = pl.Enum([rule.value for rule in PriceRule])

ORDER: Final = ("market_key", "event_time", "seq", "kind")
"""How the rows of `reference` are sorted."""

_DIGITS: Final = 9  # of a mid: sheds the noise of binary fractions, so 0.45 and 0.47 have 0.46 between them
_FIRST: Final = 0  # seq of a closed gap's row: it hides every quote of its first instant too
_NAN: Final = float("nan")
_LONG_AGO: Final = pl.lit(0, dtype=pl.Int64).cast(TIME)


def reference(quotes: pl.LazyFrame, trades: pl.LazyFrame, gaps: pl.LazyFrame) -> pl.LazyFrame:
    """The reference price from each instant on at which it may have changed, sorted by `ORDER`.

    `quotes`, `trades` and `gaps` are rows of `schema.QUOTES`, `TRADES` and `GAPS` in any order, each key
    once or more; other columns are ignored, but for `venue`, which says whom a gap without market hits
    (every market, where either side lacks it). A row holds from `event_time` to the market's next row:

    - market_key, event_time, seq; kind: `KIND`, of which `expiry` ends a last-trade price that grew old
    - bid, ask, spread: of the quote in force, null where a side is empty; spread null if they cross
    - price, rule: null where there is none
    - last_trade_price, last_trade_time: of the newest trade younger than 15 minutes, block trades aside
    - quote_seq, last_trade_seq: of the rows that the state rests on
    - gap_end: of a `gap` row, null = the market's next quote
    - is_live: a quote came since the last gap; is_tick: a quote or a trade
    """
    tape = distinct_trades(trades)
    rows = [_quote_rows(quotes), _trade_rows(tape), _expiry_rows(tape), _gap_rows(quotes, trades, gaps)]
    ordered = pl.concat(rows).sort(*ORDER, maintain_order=True).filter(~_is_repeat())
    return ordered.pipe(_remembered).pipe(_priced).filter(~_is_idle_expiry()).select(*_COLUMNS)


def holds(prices: pl.LazyFrame, start: datetime, end: datetime) -> pl.LazyFrame:
    """The step function as intervals [from_time, until_time), cut to [start, end), in the order of `prices`.

    `prices` are rows of `reference` in its order; the market's last state before `start` holds into it, its last
    before `end` holds up to there. All columns stay; states of no duration drop out.
    """
    same_market = pl.col("market_key") == pl.col("market_key").shift(-1)
    following = pl.when(same_market).then(pl.col("event_time").shift(-1)).otherwise(moment(end))
    return (
        prices.filter(pl.col("event_time") < moment(end))
        .with_columns(from_time=pl.max_horizontal("event_time", moment(start)), until_time=following)
        .filter(pl.col("until_time") > pl.col("from_time"))
    )


def moment(instant: datetime) -> pl.Expr:
    """`instant` as a literal of the lake's time type."""
    return pl.lit(instant, dtype=TIME)


def distinct_trades(trades: pl.LazyFrame) -> pl.LazyFrame:
    """Each trade once, its earliest row, sorted by market, time, seq and id."""
    ordered = trades.sort("market_key", "event_time", "seq", "trade_id")
    return ordered.unique(TRADES.key, keep="first", maintain_order=True)


def distinct_gaps(gaps: pl.LazyFrame) -> pl.LazyFrame:
    """Each gap once; a row that knows its end stands for the earlier row that did not.

    It is back-filled if any row says so; such a row, told by another collector, changes nothing else.
    """
    key = [*GAPS.key, *_venue_of(gaps)]
    if "backfilled" not in gaps.collect_schema():
        return gaps.sort("end_time", "seq", nulls_last=False).unique(key, keep="last", maintain_order=True)
    marked = gaps.with_columns(is_mark=pl.col("backfilled"), backfilled=pl.col("backfilled").any().over(key))
    by = ("end_time", "is_mark", "seq")
    ordered = marked.sort(by, descending=[False, True, False], nulls_last=False)
    return ordered.unique(key, keep="last", maintain_order=True).drop("is_mark")


def _venue_of(*frames: pl.LazyFrame) -> Sequence[str]:
    """The venue column, if every frame has it."""
    return ["venue"] if all("venue" in frame.collect_schema() for frame in frames) else []


def _quote_rows(quotes: pl.LazyFrame) -> pl.LazyFrame:
    """Quotes in the shape that all four kinds of rows share before they are sorted."""
    return quotes.select(
        "market_key", "event_time", "seq", _kind("quote"), "bid", "ask",
        trade_price=pl.lit(None, dtype=pl.Float64()),
        gap_end=pl.lit(None, dtype=TIME),
        blind_until=pl.lit(None, dtype=TIME),
    )  # fmt: skip


def _trade_rows(tape: pl.LazyFrame) -> pl.LazyFrame:
    """Trades; only those that may set the last trade carry a price."""
    price = pl.when(~_is_block()).then("price")
    return _without_quote(tape, "trade", pl.col("event_time"), trade_price=price)


def _expiry_rows(tape: pl.LazyFrame) -> pl.LazyFrame:
    """The instants at which a trade grows old without a newer one; `tape` is sorted."""
    due = pl.col("event_time") + TRADE_AGE
    is_last = (pl.col("market_key") != pl.col("market_key").shift(-1)).fill_null(True)
    lonely = tape.filter(~_is_block()).filter(is_last | (pl.col("event_time").shift(-1) > due))
    return _without_quote(lonely, "expiry", due)


def _gap_rows(quotes: pl.LazyFrame, trades: pl.LazyFrame, gaps: pl.LazyFrame) -> pl.LazyFrame:
    """The start of every gap, once for each market it hits; `blind_until` is the latest end so far."""
    known = distinct_gaps(gaps).with_columns(seq=pl.when(pl.col("end_time").is_null()).then("seq").otherwise(_FIRST))
    wide = known.filter(pl.col("market_key").is_null()).drop("market_key")
    markets = market_venues(quotes, trades)
    by_venue = _venue_of(wide, markets)
    hit = wide.join(markets, on="venue") if by_venue else wide.join(markets.select("market_key"), how="cross")
    columns = ["market_key", "start_time", "seq", "end_time"]
    each = pl.concat([known.filter(pl.col("market_key").is_not_null()).select(columns), hit.select(columns)])
    ordered = each.sort(columns[:3], maintain_order=True)
    latest = pl.col("end_time").cum_max().forward_fill().over("market_key")
    shaped = _without_quote(ordered, "gap", pl.col("start_time"), gap_end=pl.col("end_time"), blind_until=latest)
    return shaped.with_columns(pl.col("blind_until").fill_null(_LONG_AGO))


def market_venues(quotes: pl.LazyFrame, trades: pl.LazyFrame) -> pl.LazyFrame:
    """Every market of either frame once: market_key, and venue if both frames have it."""
    columns = ["market_key", *_venue_of(quotes, trades)]
    return pl.concat([quotes.select(columns), trades.select(columns)]).unique("market_key", keep="any")


def _without_quote(frame: pl.LazyFrame, kind: str, event_time: pl.Expr, **values: pl.Expr) -> pl.LazyFrame:
    """`frame` in the shape of `_quote_rows`, empty but for `values`."""
    empty = {"trade_price": pl.Float64(), "gap_end": TIME, "blind_until": TIME}
    filled = {name: values.get(name, pl.lit(None, dtype=dtype)).alias(name) for name, dtype in empty.items()}
    no_side = pl.lit(None, dtype=pl.Float64())
    return frame.select(
        "market_key", event_time.alias("event_time"), "seq", _kind(kind), no_side.alias("bid"), no_side.alias("ask"),
        *filled.values(),
    )  # fmt: skip


def _kind(name: str) -> pl.Expr:
    return pl.lit(name, dtype=KIND).alias("kind")


def _is_block() -> pl.Expr:
    return pl.col("is_block_trade").fill_null(False)


def _is_repeat() -> pl.Expr:
    """A quote whose key the row before it has, in `ORDER`."""
    is_quote = pl.col("kind") == "quote"
    same = [pl.col(name) == pl.col(name).shift(1) for name in QUOTES.key]
    return (is_quote & is_quote.shift(1) & pl.all_horizontal(same)).fill_null(False)


def _is_idle_expiry() -> pl.Expr:
    """An expiry that ends no price: the trade was not in use."""
    return (pl.col("kind") == "expiry") & (pl.col("rule").shift(1) != PriceRule.LAST_TRADE).fill_null(True)


def _remembered(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` with the quote and the last trade in force; a market's first row and a gap forget both.

    Fills run over the whole frame, which is far cheaper than one window a market, so what is forgotten is
    written as a mark that stops the fill: NaN, -1.
    """
    is_first = (pl.col("market_key") != pl.col("market_key").shift(1)).fill_null(True)
    forgets = is_first | (pl.col("kind") == "gap")
    blind = pl.when(is_first & (pl.col("kind") != "gap")).then(_LONG_AGO).otherwise("blind_until").forward_fill()
    is_quote = pl.col("kind") == "quote"
    is_seen = is_quote & (pl.col("event_time") >= blind)
    marked = rows.with_columns(is_seen=is_seen, is_state=is_quote | forgets, forgets=forgets)
    return marked.with_columns(
        bid=_held("bid", _NAN, set_by="is_seen", stop_at="is_state").fill_nan(None),
        ask=_held("ask", _NAN, set_by="is_seen", stop_at="is_state").fill_nan(None),
        quote_seq=_held("seq", -1, set_by="is_seen", stop_at="is_state"),
        is_live=pl.when("is_state").then("is_seen").forward_fill(),
        last_trade_price=_held("trade_price", _NAN, set_by=_HAS_TRADE, stop_at="forgets").fill_nan(None),
        last_trade_seq=_held("seq", -1, set_by=_HAS_TRADE, stop_at="forgets"),
        last_trade_time=pl.when(_HAS_TRADE | pl.col("forgets")).then("event_time").forward_fill(),
    )


_HAS_TRADE: Final = pl.col("trade_price").is_not_null()


def _held(name: str, nothing: float, *, set_by: str | pl.Expr, stop_at: str) -> pl.Expr:
    """The newest value of `name` at a row `set_by`; `nothing` since a row `stop_at` that set none."""
    value = pl.col(name).fill_null(nothing)
    return pl.when(set_by).then(value).when(stop_at).then(nothing).forward_fill()


def _priced(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` with spread, price and rule, and without the trades that grew old."""
    bid, ask, trade = pl.col("bid"), pl.col("ask"), pl.col("last_trade_price")
    is_young = trade.is_not_null() & (pl.col("event_time") - pl.col("last_trade_time") < TRADE_AGE)
    last_trade = ("last_trade_price", "last_trade_time", "last_trade_seq")
    young = rows.with_columns(
        *(pl.when(is_young).then(name).alias(name) for name in last_trade),
        quote_seq=pl.when(pl.col("quote_seq") >= 0).then("quote_seq"),
        spread=pl.when(bid <= ask).then(ask - bid),
    )
    is_tight = pl.col("spread") <= MAX_SPREAD + EPSILON
    is_inside = pl.col("spread").is_not_null() & trade.is_between(bid - EPSILON, ask + EPSILON)
    return young.with_columns(
        price=pl.when(is_tight).then(((bid + ask) / 2).round(_DIGITS)).when(is_inside).then(trade.clip(bid, ask)),
        rule=pl.when(is_tight).then(_rule(PriceRule.MID)).when(is_inside).then(_rule(PriceRule.LAST_TRADE)),
        is_tick=pl.col("kind").is_in(["quote", "trade"]),
    )


def _rule(rule: PriceRule) -> pl.Expr:
    return pl.lit(rule.value, dtype=RULE)


_COLUMNS: Final = (
    "market_key", "event_time", "seq", "kind", "bid", "ask", "spread", "price", "rule",
    "last_trade_price", "last_trade_time", "quote_seq", "last_trade_seq", "gap_end", "is_live", "is_tick",
)  # fmt: skip

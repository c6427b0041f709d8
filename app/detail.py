"""What the page of one market shows: read once from the lake, then kept up with the feed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from app.feed import Snapshot
from lake.clock import SECOND_US
from lake.derived.bars import bars
from lake.derived.prices import EPSILON, MAX_SPREAD, reference
from lake.query import Lake
from lake.schema import BAR_INTERVALS, BARS

INTERVALS: Final = ("1m", "5m", "1h")
LOOK_BACK: Final = {"1m": timedelta(hours=6), "5m": timedelta(hours=26), "1h": timedelta(days=14)}
"""How much of each width is read."""

TAPE: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """One market: its row, its state, its bars and trades, what was not seen of it."""

    market: dict[str, Any]  # a row of `Lake.markets`
    state: dict[str, Any] | None  # `Lake.latest`; None = no quote and no young trade
    bars: pl.DataFrame  # of `interval`: `schema.BARS`, in order of time
    minutes: pl.DataFrame  # of one minute, as far back as the last bar reaches
    history: pl.DataFrame  # back-filled, before the first bar: `schema.HISTORY`
    trades: pl.DataFrame  # the newest `TAPE`, newest first
    gaps: pl.DataFrame  # start_time, end_time
    interval: str


def load(lake: Lake, snapshot: Snapshot, market: int | str, interval: str) -> Detail:
    """Everything of a market. Raises `QueryError` if the lake does not know it."""
    row = lake.market(market).row(0, named=True)
    key, now = row["market_key"], snapshot.now
    start = now - LOOK_BACK[interval]
    known = lake.bars(key, interval, start).select(*BARS.columns)
    minutes = lake.bars(key, "1m", now - timedelta(hours=2)).select(*BARS.columns)
    trades = lake.trades(key, limit=TAPE)
    state = lake.latest(key, None if snapshot.latest is None else max(snapshot.latest, now))
    own = lake.gaps(start, market=key).select("start_time", "end_time")
    found = Detail(
        row, state.row(0, named=True) if state.height else None, known, minutes, _history(lake, key, start, known),
        trades, own, interval,
    )  # fmt: skip
    return follow(found, snapshot)


def _history(lake: Lake, key: int, start: datetime, known: pl.DataFrame) -> pl.DataFrame:
    """Back-filled bars with a price, up to the first bar of ours: of the venue's quotes where they are tight, else its
    trades.
    """
    end = known["bar_start"][0] if known.height else None
    found = lake.history(key, start, end)
    opened, closed = _mid("open"), _mid("close")
    is_quoted = closed.is_not_null()
    first = pl.coalesce(opened, closed)
    prices = found.with_columns(
        open=pl.when(is_quoted).then(first).otherwise("open"),
        high=pl.when(is_quoted).then(pl.max_horizontal(first, closed)).otherwise("high"),
        low=pl.when(is_quoted).then(pl.min_horizontal(first, closed)).otherwise("low"),
        close=pl.when(is_quoted).then(closed).otherwise("close"),
    )
    return prices.filter(pl.col("close").is_not_null()).sort("bar_start")


def _mid(part: str) -> pl.Expr:
    """The middle of the quotes at that part of a bar; null where one is missing or they are far apart."""
    bid, ask = pl.col(f"bid_{part}"), pl.col(f"ask_{part}")
    return pl.when((ask - bid).is_between(0, MAX_SPREAD + EPSILON)).then((bid + ask) / 2)


def follow(detail: Detail, snapshot: Snapshot) -> Detail:
    """`detail` with what the feed's newest ticks say: the last bars, the tape, the quote."""
    key = detail.market["market_key"]
    is_it = pl.col("market_key") == key
    quotes, trades = snapshot.quotes.filter(is_it), snapshot.trades.filter(is_it)
    if quotes.is_empty() and trades.is_empty():
        return detail
    gaps = snapshot.gaps.filter(is_it | (pl.col("market_key").is_null() & (pl.col("venue") == detail.market["venue"])))
    prices = reference(quotes.lazy(), trades.lazy(), gaps.lazy())
    fresh = _fresh(bars(prices, trades.lazy(), "1m").collect().select(*BARS.columns), snapshot)
    minutes = _over(detail.minutes, fresh)
    last = prices.last().collect()
    unseen = pl.concat([detail.gaps, gaps.select("start_time", "end_time")])
    unseen = unseen.sort("end_time", nulls_last=False).unique("start_time", keep="last").sort("start_time")
    return Detail(
        detail.market, _state(detail.state, quotes, last), tail(detail.bars, minutes, detail.interval), minutes,
        detail.history, _tape(detail.trades, trades), unseen, detail.interval,
    )  # fmt: skip


def _fresh(found: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    """Without the minute in which the ticks in memory begin, of which a part is missing."""
    starts = [frame["received_time"][0] for frame in (snapshot.quotes, snapshot.trades) if frame.height]
    return found.filter(pl.col("bar_start") > min(starts))


def _over(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Both; where both have a bar, the one with more ticks in it."""
    both = pl.concat([old, new]).sort("bar_start", "ticks", maintain_order=True)
    return both.unique("bar_start", keep="last", maintain_order=True)


def tail(known: pl.DataFrame, minutes: pl.DataFrame, interval: str) -> pl.DataFrame:
    """`known` bars of `interval`, the last and later ones made anew of one-minute bars."""
    if minutes.is_empty():
        return known
    width = BAR_INTERVALS[interval] * SECOND_US
    edge = pl.col("bar_start").to_physical() // width * width
    since = minutes["bar_start"].min() if known.is_empty() else known["bar_start"].max()
    late = minutes.with_columns(bar_start=edge.cast(minutes.schema["bar_start"])).filter(pl.col("bar_start") >= since)
    made = late.group_by("market_key", "bar_start", maintain_order=True).agg(_merged()).select(*known.columns)
    return _over(known, made.cast(known.schema))


def _merged() -> list[pl.Expr]:
    """The columns of a bar from those of the bars within it."""
    found = []
    for side in ("", "bid_", "ask_"):
        found += [
            pl.col(f"{side}open").drop_nulls().first(),
            pl.col(f"{side}high").max(),
            pl.col(f"{side}low").min(),
            pl.col(f"{side}close").drop_nulls().last(),
        ]
    sums = ("volume_contracts", "notional_usd", "buy_notional_usd", "trades", "ticks")
    return [*found, *(pl.col(name).sum() for name in sums), pl.col("coverage").mean(), pl.col("is_backfilled").any()]


def _state(old: dict[str, Any] | None, quotes: pl.DataFrame, last: pl.DataFrame) -> dict[str, Any] | None:
    """The newest quote and the reference price after it; `old` where the ticks are older."""
    if quotes.is_empty() or last.is_empty():
        return old
    quote = quotes.sort("event_time", "seq").row(-1, named=True)
    if old is not None and old["event_time"] is not None and old["event_time"] > quote["event_time"]:
        return old
    price = last.row(0, named=True)
    told = ("event_time", "received_time", "bid", "ask", "bid_size", "ask_size", "source")
    named = {
        name: price[name] for name in ("is_live", "spread", "price", "rule", "last_trade_price", "last_trade_time")
    }
    return {**(old or {}), **named, **{name: quote[name] for name in told}}


def _tape(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The newest trades of both, each once, newest first."""
    if new.is_empty():
        return old
    both = pl.concat([old, new.select(name for name in new.columns if name in old.columns)], how="diagonal")
    once = both.unique(["market_key", "trade_id"], keep="first", maintain_order=True)
    return once.sort("event_time", "seq", "trade_id", descending=True).head(TAPE)

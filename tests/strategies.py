"""Random rows for hypothesis: few markets, a coarse clock and few prices, so that ties and edges are common."""

import os
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st

from tests.builders import Row, gap, gaps, instant, quote, quotes, trade, trades

OPENING = instant("10:00:00")
SPAN = timedelta(minutes=50)

MARKETS = (-7, 1, 2**62)


def examples(count: int) -> settings:
    """Settings of a property: so many examples, and twelve times as many in `make soak`."""
    factor = 12 if os.environ.get("MOVERS_PROFILE") == "soak" else 1
    return settings(max_examples=count * factor, deadline=None)


class Session(NamedTuple):
    """Rows of quotes, trades and gaps that belong together."""

    quotes: list[Row]
    trades: list[Row]
    gaps: list[Row]

    @property
    def frames(self) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
        """Lazy frames of the rows, in their order."""
        return quotes(*self.quotes), trades(*self.trades), gaps(*self.gaps)


def instants(step: int = 10) -> st.SearchStrategy[datetime]:
    """Whole steps of seconds within `SPAN` of `OPENING`."""
    steps = int(SPAN.total_seconds()) // step
    return st.integers(0, steps).map(lambda number: OPENING + timedelta(seconds=step * number))


def prices() -> st.SearchStrategy[float]:
    """Whole cents from 0 to 1, rather close together."""
    return st.one_of(st.integers(40, 60), st.integers(0, 100)).map(lambda cents: cents / 100)


markets = st.sampled_from(MARKETS)
sizes = st.integers(1, 10_000_000).map(lambda millionths: millionths / 10_000)


@st.composite
def quote_rows(draw: st.DrawFn, seq: int) -> Row:
    """Any top of book: two-sided, one-sided, empty, wide or crossed."""
    side = st.none() | prices()
    bid = draw(side)
    ask = draw(side) if bid is None or draw(st.booleans()) else min(1.0, round(bid + draw(st.integers(0, 14)) / 100, 2))
    return quote(bid, ask, draw(instants()), draw(markets), seq=seq)


@st.composite
def trade_rows(draw: st.DrawFn, number: int) -> Row:
    """Any trade; several may share a frame, hence a seq."""
    side = draw(st.sampled_from(["buy", "sell", None]))
    block = draw(st.sampled_from([False, False, False, True, None]))
    row = trade(draw(prices()), draw(sizes), draw(instants()), draw(markets), side, seq=draw(st.integers(0, 40)))
    return row | {"trade_id": f"t{number}", "is_block_trade": block}


@st.composite
def gap_rows(draw: st.DrawFn, number: int) -> Row:
    """A gap of one market or all, closed or open."""
    start = draw(instants())
    end = draw(st.none() | st.integers(1, 120).map(lambda steps: start + timedelta(seconds=10 * steps)))
    return gap(start, end, draw(st.none() | markets), seq=draw(st.integers(0, 40)), connection=f"c{number}")


@st.composite
def sessions(draw: st.DrawFn, most: int = 30) -> Session:
    """Up to `most` quotes, half as many trades and four gaps, in an order that is not that of their times."""
    return Session(
        [draw(quote_rows(seq)) for seq in range(draw(st.integers(0, most)))],
        [draw(trade_rows(number)) for number in range(draw(st.integers(0, most // 2)))],
        [draw(gap_rows(number)) for number in range(draw(st.integers(0, 4)))],
    )

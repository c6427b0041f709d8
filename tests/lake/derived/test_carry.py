"""What is carried over an edge: from there on, a part of the rows gives what all of them give."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.derived.bars import bars
from lake.derived.carry import Ticks, carry, since
from lake.derived.prices import reference
from lake.schema import BAR_INTERVALS
from tests.builders import gap, gaps, instant, quote, quotes, trade, trades
from tests.strategies import OPENING, Session, examples, instants, sessions

EDGE = instant("10:10:00")


def carried(*rows, gap_rows=()):
    """How many quotes, trades and gaps are carried over `EDGE`."""
    quote_rows = [row for row in rows if "bid" in row]
    trade_rows = [row for row in rows if "price" in row]
    kept = carry(quotes(*quote_rows), trades(*trade_rows), gaps(*gap_rows), EDGE)
    return tuple(frame.collect().height for frame in kept)


@pytest.mark.parametrize(
    ("rows", "gap_rows", "expected"),
    [
        ([quote(at="09:00"), quote(at="09:01"), quote(market=2)], [], (2, 0, 0)),
        ([trade(at="09:55:00")], [], (0, 0, 0)),  # fifteen minutes old at the edge
        ([trade(at="09:55:01"), trade(at="10:01")], [], (0, 1, 0)),
        ([trade(at="10:01"), trade(at="10:02", is_block_trade=True)], [], (0, 1, 0)),
        ([trade(at="10:01"), trade(at="10:10:00")], [], (0, 1, 0)),
        ([quote(at="10:00"), trade(at="10:00")], [gap("10:01", "10:02")], (0, 0, 0)),
        ([quote(at="10:00")], [gap("10:01", "10:12", market=None)], (0, 0, 1)),
        ([quote(at="10:00")], [gap("10:01"), gap("10:02")], (0, 0, 1)),
        ([quote(at="10:00")], [gap("10:01", "10:30"), gap("10:02", "10:12", connection="c2")], (0, 0, 2)),
        ([quote(at="10:10:00"), trade(at="10:10:00")], [gap("10:10:00")], (0, 0, 0)),  # after the edge, not before
    ],
)
def test_carries_what_still_matters(rows, gap_rows, expected):
    """The newest quote and trade that no gap cut, and the gaps that still run."""
    assert carried(*rows, gap_rows=gap_rows) == expected


def test_last_of_a_frame_is_carried():
    """Of trades that share time and seq, the one with the greatest id is the newest."""
    fills = [trade(at="10:01", seq=9, trade_id=name) for name in ("a", "c", "b")]
    kept = carry(quotes(), trades(*fills), gaps(), EDGE).trades.collect()
    assert kept["trade_id"].to_list() == ["c"]


@examples(20)
@given(sessions(), instants() | instants(step=1))
def test_price_from_an_edge_on(session: Session, edge):
    """The reference price of the rows since an edge and of what was carried is that of all rows, from the edge on."""
    assert_same_prices(since(*session.frames, edge), Ticks(*session.frames), edge)


@examples(20)
@given(sessions(), st.integers(0, 50), st.sampled_from(list(BAR_INTERVALS)))
def test_bars_from_an_edge_on(session: Session, minutes: int, every: str):
    """Bars of the rows since a bar's edge and of what was carried are those of all rows, from that bar on."""
    edge = (OPENING + timedelta(minutes=minutes)).replace(second=0)
    seconds = BAR_INTERVALS[every]
    edge -= timedelta(seconds=edge.timestamp() % seconds)
    ticks = since(*session.frames, edge)
    expected = bars(reference(*session.frames), session.frames[1], every).filter(pl.col("bar_start") >= edge)
    assert bars(reference(*ticks), ticks.trades, every, start=edge).collect().equals(expected.collect())


@examples(20)
@given(sessions(), instants(), instants())
def test_carry_of_a_carry(session: Session, first, second):
    """What is carried twice over two edges is what is carried over the later at once."""
    first, second = sorted((first, second))
    in_steps = since(*since(*session.frames, first), second)
    assert_same_prices(in_steps, since(*session.frames, second), second)


def assert_same_prices(part: Ticks, whole: Ticks, edge: datetime) -> None:
    """From `edge` on `reference` is the same, for every market of which `part` has a quote or a trade.

    A gap of the whole venue makes a row for each market it can see; one without rows has nothing to lose by it.
    """
    markets = pl.concat([part.quotes.select("market_key"), part.trades.select("market_key")]).unique()
    found, expected = (
        reference(*ticks)
        .filter(pl.col("event_time") >= edge)
        .join(markets, on="market_key", how="semi", maintain_order="left")
        .collect()
        for ticks in (part, whole)
    )
    assert found.equals(expected)

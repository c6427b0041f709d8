"""Bars: what lies in one, what it says of the time that nothing happened, and that nothing is lost or made."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from lake.derived.bars import bars
from lake.derived.prices import reference
from lake.schema import BAR_INTERVALS, BARS, GAPS, QUOTES, TRADES
from tests.builders import Row, gap, instant, quote, trade
from tests.lake.derived import naive
from tests.lake.derived.mirror import mirrored
from tests.strategies import MARKETS, OPENING, SPAN, Session, examples, sessions

STEP = timedelta(seconds=10)
SIDES = ("bid", "ask")
PARTS = ("open", "high", "low", "close")
SUMS = ("volume_contracts", "notional_usd", "buy_notional_usd", "trades", "ticks")


def bars_of(session: Session, every: str = "1m", **edges: datetime) -> pl.DataFrame:
    """Bars from raw rows."""
    raw = session.frames
    return bars(reference(*raw), raw[1], every, **edges).collect()


def bars_of_rows(*rows: Row, every: str = "1m", gap_rows=(), **edges) -> list[dict]:
    """Bars of a handful of rows, as dicts."""
    session = Session([row for row in rows if "bid" in row], [row for row in rows if "price" in row], list(gap_rows))
    return bars_of(session, every, **edges).rows(named=True)


def test_one_bar():
    """First, highest, lowest and last of price and quotes; contracts and dollars of the trades."""
    [bar] = bars_of_rows(
        quote(0.40, 0.42, at="10:00:00"),
        quote(0.44, 0.46, at="10:00:20"),
        trade(0.46, size=100, at="10:00:30"),
        trade(0.44, size=50, at="10:00:31", side="sell"),
        quote(0.38, 0.40, at="10:00:40"),
        quote(0.39, 0.41, at="10:00:59.999999"),
    )
    assert (bar["market_key"], bar["bar_start"], bar["interval"]) == (1, instant("10:00"), "1m")
    assert [bar[part] for part in PARTS] == pytest.approx([0.41, 0.45, 0.39, 0.40])
    assert [bar[f"bid_{part}"] for part in PARTS] == [0.40, 0.44, 0.38, 0.39]
    assert [bar[f"ask_{part}"] for part in PARTS] == [0.42, 0.46, 0.40, 0.41]
    assert (bar["volume_contracts"], bar["notional_usd"], bar["buy_notional_usd"]) == (150, 68, 46)
    assert (bar["trades"], bar["ticks"], bar["coverage"], bar["is_backfilled"]) == (2, 6, 1.0, False)


def test_edge_belongs_to_the_later_bar():
    """A bar is [start, end)."""
    found = bars_of_rows(quote(at="10:00:59.999999"), quote(at="10:01:00"))
    assert [bar["bar_start"] for bar in found] == [instant("10:00"), instant("10:01")]


def test_quiet_bar_does_not_exist():
    """A held quote makes no bar where no row lies; nor do the rows that only end a price."""
    found = bars_of_rows(quote(0.40, 0.55), trade(0.47), quote(0.41, 0.55, at="10:40:00"), gap_rows=[gap("10:20:00")])
    assert [bar["bar_start"] for bar in found] == [instant("10:00"), instant("10:40")]


def test_held_quote_covers():
    """A bar is covered from the quote that was in force when it began, whenever that came."""
    found = bars_of_rows(quote(at="10:00:45"), quote(at="10:07:30"))
    assert [bar["coverage"] for bar in found] == [0.25, 1.0]


def test_gap_uncovers():
    """The time from a gap's start to the next quote is not covered."""
    found = bars_of_rows(quote(at="10:00:00"), quote(at="10:00:45"), gap_rows=[gap("10:00:15", "10:00:30")])
    assert [bar["coverage"] for bar in found] == [0.5]


def test_time_that_is_not_yet_known_is_not_covered():
    """With rows in up to `until`, what follows is open."""
    [bar] = bars_of_rows(quote(at="09:00:00"), quote(at="10:00:15"), start=instant("10:00"), until=instant("10:00:30"))
    assert bar["coverage"] == 0.5


def test_bar_without_price():
    """Ticks of a book that has no price make a bar with ticks and quotes, and no price."""
    [bar] = bars_of_rows(quote(0.01, 0.99))
    assert [bar[part] for part in PARTS] == [None] * 4
    assert (bar["bid_open"], bar["ask_close"], bar["ticks"], bar["coverage"]) == (0.01, 0.99, 1, 0.0)


def test_quotes_of_a_bar_are_those_at_its_ticks():
    """What a row that only ends a price still holds is not the bar's first quote."""
    rows = [quote(0.40, 0.55, at="10:00"), trade(0.47, at="10:00"), quote(0.44, 0.45, at="10:15:30")]
    assert [bar["bid_open"] for bar in bars_of_rows(*rows)] == [0.40, 0.44]


def test_block_trade_counts_as_volume():
    """A block trade is traded volume, though no price."""
    [bar] = bars_of_rows(trade(0.5, size=4, is_block_trade=True))
    assert (bar["notional_usd"], bar["trades"], bar["open"]) == (2.0, 1, None)


def test_trades_alternate_while_the_book_stands():
    """Prints at 0.45 and 0.55 move no price while the quotes stay."""
    prints = [trade(price, at=f"10:00:{second}") for second, price in ((10, 0.45), (20, 0.55), (30, 0.45), (40, 0.55))]
    [bar] = bars_of_rows(quote(0.45, 0.55), *prints)
    assert [bar[part] for part in PARTS] == [0.5] * 4


def test_columns_are_those_of_the_table():
    """Bars have the columns and types of `schema.BARS`, and their interval."""
    found = bars(reference(QUOTES.empty(), TRADES.empty(), GAPS.empty()), TRADES.empty(), "1h").collect()
    assert dict(found.schema) == {**BARS.columns, "interval": pl.String()}


def test_unknown_width():
    """Only the lake's intervals have bars."""
    with pytest.raises(KeyError):
        bars(QUOTES.empty(), TRADES.empty(), "7m")


@examples(15)
@given(sessions(), st.sampled_from(["1m", "5m", "1h"]))
def test_open_and_close_lie_within_low_and_high(session: Session, every: str):
    """Of the price and of both quotes; all four are there or none."""
    found = bars_of(session, every)
    for prefix in ("", "bid_", "ask_"):
        known = found.drop_nulls([prefix + part for part in PARTS])
        inside = pl.col(prefix + "open", prefix + "close").is_between(prefix + "low", prefix + "high")
        assert known.select(inside.all()).row(0) == (True, True)
        assert known.height == found[prefix + "high"].count()


@examples(15)
@given(sessions())
def test_sums_agree_across_intervals(session: Session):
    """Ticks, trades and volumes of all bars are those of all rows, and an hour's are those of its minutes."""
    expected = {
        "ticks": len(session.quotes) + len(session.trades),
        "trades": len(session.trades),
        "volume_contracts": pytest.approx(sum(row["size"] for row in session.trades)),
        "notional_usd": pytest.approx(sum(row["size"] * row["price"] for row in session.trades)),
    }
    minutes = bars_of(session, "1m")
    assert {name: minutes[name].sum() for name in expected} == expected
    for every in ("5m", "1h", "1d"):
        whole = minutes.group_by("market_key", pl.col("bar_start").dt.truncate(every)).agg(pl.col(SUMS).sum())
        coarse = bars_of(session, every).select(whole.columns)
        order = ["market_key", "bar_start"]
        assert_frame_equal(coarse.sort(order), whole.sort(order), abs_tol=1e-9)


@examples(20)
@given(sessions(), st.sampled_from(["1m", "5m", "1h"]))
def test_agrees_with_the_rules_read_one_row_at_a_time(session: Session, every: str):
    """Coverage is the share of a bar's steps with a price, held ones too."""
    found, width = bars_of(session, every), timedelta(seconds=BAR_INTERVALS[every])
    for market in MARKETS:
        steps = naive.grid(session, market, OPENING, OPENING + SPAN + timedelta(hours=1), STEP)
        for start, coverage in found.filter(pl.col("market_key") == market).select("bar_start", "coverage").rows():
            inside = [step["price"] for step in steps if start <= step["time"] < start + width]
            assert coverage == pytest.approx(sum(price is not None for price in inside) / len(inside))


@examples(15)
@given(sessions(), st.randoms())
def test_order_and_repeats_do_not_count(session: Session, random):
    """The same rows shuffled, and some of them twice, give the identical bars."""
    shuffled = []
    for rows in session:
        again = rows + [row for row in rows if random.random() < 0.3]
        random.shuffle(again)
        shuffled.append(again)
    assert bars_of(Session(*shuffled), "5m").equals(bars_of(session, "5m"))


@examples(15)
@given(sessions())
def test_complement_mirrors(session: Session):
    """The other outcome's bars are 1 - p: high and low change places, so do the quotes and the buyers."""
    bar, other = bars_of(session, "5m"), bars_of(mirrored(session), "5m")
    assert other["ticks"].equals(bar["ticks"])
    turned = {"open": "open", "high": "low", "low": "high", "close": "close"}
    pairs = turned | {f"bid_{part}": f"ask_{back}" for part, back in turned.items()}
    for name, back in pairs.items():
        expected = bar.select((1 - pl.col(back)).alias(name)).to_series()
        assert_series_equal(other[name], expected, abs_tol=1e-9)
    assert other["coverage"].equals(bar["coverage"])


def test_trades_that_came_in_long_after():
    """A bar is back-filled from two minutes between a trade and its receipt on; one that the feed told is not."""
    early, late = (instant(at) for at in ("10:02:09.999999", "10:03:40"))
    found = bars_of_rows(
        trade(at="10:00:10", received_time=early), trade(at="10:01:40", received_time=late), trade(at="10:01:50")
    )
    assert [(bar["trades"], bar["is_backfilled"]) for bar in found] == [(1, False), (2, True)]

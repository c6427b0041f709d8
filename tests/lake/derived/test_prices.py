"""The reference price: which quote or trade makes it, how long it holds, and what ends it."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.derived.prices import distinct_gaps, holds, reference
from lake.schema import GAPS, QUOTES, TRADES
from tests.builders import gap, gaps, instant, quote, quotes, trade, trades
from tests.lake.derived import naive
from tests.strategies import MARKETS, OPENING, SPAN, Session, examples, sessions

STEP = timedelta(seconds=10)


def prices_of(*rows, gap_rows=()):
    """(time, price, rule) of every reference row of one market."""
    quote_rows = [row for row in rows if "bid" in row]
    trade_rows = [row for row in rows if "trade_id" in row]
    found = reference(quotes(*quote_rows), trades(*trade_rows), gaps(*gap_rows)).collect()
    return [
        (f"{time:%H:%M:%S}", None if price is None else round(price, 9), rule)
        for time, price, rule in found.select("event_time", "price", "rule").rows()
    ]


def price_of(*rows, gap_rows=()):
    """Price and rule after the last row."""
    return prices_of(*rows, gap_rows=gap_rows)[-1][1:]


@pytest.mark.parametrize(
    ("bid", "ask", "price"),
    [
        (0.40, 0.42, 0.41),
        (0.45, 0.55, 0.50),  # 0.55 - 0.45 is more than 0.10 in binary fractions
        (0.45, 0.56, None),
        (0.30, 0.30, 0.30),  # locked, not crossed
        (0.43, 0.42, None),
        (0.01, None, None),
        (None, 0.99, None),
        (None, None, None),
        (0.01, 0.99, None),  # never one half by default
    ],
)
def test_book_alone(bid, ask, price):
    """A two-sided book of at most 10 cents has a middle; every other book has no price without a trade."""
    assert price_of(quote(bid, ask)) == (price, None if price is None else "mid")


@pytest.mark.parametrize(
    ("bid", "ask", "mid"), [(0.45, 0.47, 0.46), (0.57, 0.59, 0.58), (0.123456, 0.123457, 0.1234565)]
)
def test_a_mid_is_the_decimal(bid, ask, mid):
    """Not a neighbour of it, as the mean of two binary fractions can be."""
    assert reference(quotes(quote(bid, ask)), trades(), gaps()).collect()["price"].to_list() == [mid]


def test_wide_book_takes_the_last_trade():
    """A trade inside a wide book is the price, under its own rule."""
    found = prices_of(trade(0.47, at="10:00:00"), quote(0.40, 0.55, at="10:00:05"))
    assert found[1] == ("10:00:05", 0.47, "last_trade")


@pytest.mark.parametrize("price", [0.39, 0.56])
def test_trade_outside_the_book_is_no_price(price):
    """A trade that the quotes have left behind says nothing."""
    assert price_of(trade(price), quote(0.40, 0.55, at="10:00:05")) == (None, None)


def test_trade_grows_old():
    """The last-trade price ends 15 minutes after its trade, at a row of its own."""
    found = prices_of(quote(0.40, 0.55, at="10:00:00"), trade(0.47, at="10:00:05"))
    assert found == [
        ("10:00:00", None, None),
        ("10:00:05", 0.47, "last_trade"),
        ("10:15:05", None, None),
    ]


def test_newer_trade_takes_over():
    """A trade that a newer one replaced leaves no expiry of its own."""
    found = prices_of(quote(0.40, 0.55), trade(0.47, at="10:00:05"), trade(0.48, at="10:10:00"))
    assert [time for time, *_ in found] == ["10:00:00", "10:00:05", "10:10:00", "10:25:00"]


def test_trade_in_a_tight_book_leaves_no_expiry():
    """An expiry exists only where it ends a price."""
    assert len(prices_of(quote(0.40, 0.42), trade(0.41, at="10:00:05"))) == 2


def test_block_trade_is_no_last_trade():
    """A privately agreed price is a row, and no price."""
    assert price_of(quote(0.40, 0.55), trade(0.47, at="10:00:05", is_block_trade=True)) == (None, None)


@pytest.mark.parametrize("turn", [1, -1])
def test_trades_of_one_frame_rank_by_id(turn):
    """Trades that share time and seq come in the order of their ids, however they are given."""
    fills = [trade(0.47, at="10:00:05", seq=9, trade_id="a"), trade(0.48, at="10:00:05", seq=9, trade_id="b")][::turn]
    assert [price for _, price, _ in prices_of(quote(0.40, 0.55), *fills)] == [None, 0.47, 0.48, None]


def test_small_order_far_below_changes_nothing():
    """The quotes of a 0.50/0.52 book do not change when five shares are bid at 0.01, nor does the price."""
    assert prices_of(quote(0.50, 0.52)) == [("10:00:00", 0.51, "mid")]


def test_spread_opens_without_trades():
    """While the book is 40 cents wide there is no price."""
    found = prices_of(quote(0.50, 0.52), quote(0.46, 0.86, at="10:01:00"), quote(0.50, 0.52, at="10:02:00"))
    assert [price for _, price, _ in found] == [0.51, None, 0.51]


def test_closed_gap_cuts_and_does_not_restore():
    """From a gap's start on there is no price, until the first quote at or after its end."""
    rows = [quote(at="10:00:00"), quote(at="10:01:30"), quote(at="10:03:00")]
    found = prices_of(*rows, gap_rows=[gap("10:01:00", "10:02:00")])
    assert [(time, price) for time, price, _ in found] == [
        ("10:00:00", 0.41),
        ("10:01:00", None),
        ("10:01:30", None),
        ("10:03:00", 0.41),
    ]


def test_closed_gap_holds_its_first_instant_and_not_its_last():
    """A gap is [start, end): a quote at its start has no price, one at its end has."""
    rows = [quote(at="10:01:00"), quote(at="10:02:00")]
    found = prices_of(*rows, gap_rows=[gap("10:01:00", "10:02:00")])
    assert [price for _, price, _ in found] == [None, None, 0.41]


def test_open_gap_ends_at_the_next_quote():
    """Without an end, a gap lasts to the market's next quote, not to its next trade."""
    rows = [quote(at="10:00:00"), trade(at="10:02:00"), quote(at="10:03:00")]
    found = prices_of(*rows, gap_rows=[gap("10:01:00")])
    assert [price for _, price, _ in found] == [0.41, None, None, 0.41]


def test_longer_gap_outlasts_a_shorter_one_inside():
    """The end of an inner gap does not end the outer one."""
    both = [gap("10:01:00", "10:10:00"), gap("10:02:00", "10:03:00", connection="c2")]
    assert price_of(quote(at="10:00:00"), quote(at="10:05:00"), gap_rows=both) == (None, None)


def test_gap_forgets_the_last_trade():
    """A trade from before a gap is not the last trade after it."""
    rows = [trade(0.47, at="10:00:00"), quote(0.40, 0.55, at="10:03:00")]
    assert price_of(*rows, gap_rows=[gap("10:01:00", "10:02:00")]) == (None, None)


def test_venue_gap_hits_its_venue_only():
    """A gap without a market cuts every market of its venue and none of another."""
    rows = quotes(quote(market=1, venue="kalshi"), quote(market=2, venue="polymarket"))
    found = reference(rows, trades(venue="kalshi"), gaps(gap("10:01:00", market=None), venue="kalshi")).collect()
    last = found.group_by("market_key", maintain_order=True).last()
    assert last.select("market_key", "price").rows() == [(1, None), (2, pytest.approx(0.41))]


def test_venue_gap_without_a_venue_hits_all():
    """Where rows do not say their venue, a gap without a market cuts every market."""
    found = reference(quotes(quote(market=1), quote(market=2)), trades(), gaps(gap("10:01:00", market=None))).collect()
    assert found.group_by("market_key").last()["price"].to_list() == [None, None]


def test_known_end_replaces_an_open_gap():
    """The row that closes a gap stands for the row that opened it."""
    rows = [gap("10:01:00", seq=5), gap("10:01:00", "10:02:00", seq=9)]
    found = reference(quotes(quote()), trades(), gaps(*rows)).filter(pl.col("kind") == "gap").collect()
    assert found["gap_end"].to_list() == [instant("10:02:00")]


def test_nothing_gives_nothing():
    """No rows make a frame without rows, with every column."""
    found = reference(QUOTES.empty(), TRADES.empty(), GAPS.empty()).collect()
    assert found.is_empty() and "price" in found.columns


@examples(30)
@given(sessions())
def test_agrees_with_the_rules_read_one_row_at_a_time(session: Session):
    """At every instant, bid, ask, price, rule and life are those of the plain reading of the rules."""
    end = OPENING + SPAN + timedelta(minutes=20)
    held = holds(reference(*session.frames), OPENING, end).collect()
    columns = ["time", "bid", "ask", "price", "rule", "is_live"]
    for market in MARKETS:
        times = pl.datetime_range(OPENING, end, STEP, closed="left", time_zone="UTC", eager=True).alias("time")
        mine = held.filter(pl.col("market_key") == market).rename({"from_time": "time"})
        found = times.to_frame().join_asof(mine, on="time").with_columns(pl.col("is_live").fill_null(False))
        expected = [tuple(row.values()) for row in naive.grid(session, market, OPENING, end, STEP)]
        assert found.select(columns).rows() == expected


@examples(20)
@given(sessions())
def test_price_lies_within_its_quotes(session: Session):
    """A price is between bid and ask, hence between 0 and 1."""
    found = reference(*session.frames).filter(pl.col("price").is_not_null()).collect()
    assert found.select(pl.col("price").is_between("bid", "ask").all()).item()
    assert found.select(pl.col("price").is_between(0, 1).all()).item()


@examples(20)
@given(sessions())
def test_gap_has_no_price(session: Session):
    """No row inside a closed gap of its market has a price, a bid or an ask."""
    found = reference(*session.frames).collect()
    for row in session.gaps:
        if row["end_time"] is None:
            continue
        hit = found.filter(pl.col("event_time").is_between(row["start_time"], row["end_time"], closed="left"))
        if row["market_key"] is not None:
            hit = hit.filter(pl.col("market_key") == row["market_key"])
        assert hit.select(pl.col("price", "bid", "ask").is_null().all()).row(0) == (True, True, True)


@examples(20)
@given(sessions(), st.randoms())
def test_order_and_repeats_do_not_matter(session: Session, random):
    """The same rows shuffled, and some of them twice, give the identical frame."""
    shuffled = []
    for rows in session:
        again = rows + [row for row in rows if random.random() < 0.3]
        random.shuffle(again)
        shuffled.append(again)
    expected = reference(*session.frames).collect()
    assert reference(*Session(*shuffled).frames).collect().equals(expected)


@examples(20)
@given(sessions())
def test_every_tick_is_a_row(session: Session):
    """Quotes and trades are there once each, in order of market, time and seq."""
    found = reference(*session.frames).collect()
    assert found["is_tick"].sum() == len(session.quotes) + len(session.trades)
    assert found.equals(found.sort("market_key", "event_time", "seq", "kind", maintain_order=True))


@examples(20)
@given(sessions())
def test_holds_tile_the_time(session: Session):
    """The intervals of a market follow one another without overlap, and the last ends at the end."""
    start, end = OPENING + timedelta(minutes=10), OPENING + timedelta(minutes=30)
    held = holds(reference(*session.frames), start, end).collect()
    assert held.select((pl.col("from_time") >= start).all() & (pl.col("until_time") <= end).all()).item()
    for _, rows in held.group_by("market_key", maintain_order=True):
        assert rows["from_time"][1:].to_list() == rows["until_time"][:-1].to_list()
        assert rows["until_time"][-1] == end


def test_a_gap_that_was_filled_is_the_same_gap():
    """That it was back-filled is told by another collector, under any seq: each gap stands once, and says so."""
    for own, other in ((5, 9), (9, 5)):
        told = gap("10:00:00", seq=own), gap("10:00:10", "10:00:20", seq=own)
        marks = [row | {"backfilled": True, "seq": other} for row in told]
        found = distinct_gaps(gaps(*marks, *told)).sort("start_time").collect()
        assert found["backfilled"].to_list() == [True, True] and found["seq"].to_list() == [own, own]
        closed = gap("10:00:00", "10:00:05", seq=own + 1)
        [first, _] = distinct_gaps(gaps(*told, marks[0], closed)).sort("start_time").collect().rows(named=True)
        assert (first["end_time"], first["backfilled"], first["seq"]) == (instant("10:00:05"), True, own + 1)


@examples(40)
@given(sessions(), st.data())
def test_filled_gaps_change_no_price(session: Session, data):
    """The reference price is the same whichever gaps were back-filled."""
    chosen = data.draw(st.sets(st.sampled_from(range(len(session.gaps))))) if session.gaps else set()
    marks = [session.gaps[place] | {"backfilled": True, "seq": data.draw(st.integers(0, 10**6))} for place in chosen]
    quote_rows, trade_rows, gap_rows = session.frames
    plain = reference(quote_rows, trade_rows, gap_rows).collect()
    marked = reference(quote_rows, trade_rows, gaps(*session.gaps, *marks)).collect()
    assert plain.equals(marked)

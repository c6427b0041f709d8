"""Moves: what two slices say, when they must not be compared, and whose volume is shown."""

from datetime import timedelta
from statistics import median

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from lake.derived.carry import carry
from lake.derived.movers import board, moves, weighted_median
from lake.derived.prices import reference
from lake.derived.slices import needs, slices
from lake.schema import GAPS, HISTORY, MOVERS, QUOTES, TRADES
from tests import builders
from tests.builders import gap, gaps, instant, quote, quotes, trade, trades, venue_stat, venue_stats
from tests.lake.derived import naive
from tests.lake.derived.mirror import mirrored
from tests.strategies import MARKETS, OPENING, Session, examples, sessions

AS_OF = instant("12:00:00")
HOUR = timedelta(hours=1)
WINDOWS = {"5m": timedelta(minutes=5), "25m": timedelta(minutes=25)}  # slices of 15 s and 30 s
STEP = timedelta(seconds=5)


def row_of(*rows, gap_rows=(), stats=(), window=HOUR, as_of=AS_OF):
    """The only market's row over one window."""
    quote_rows = [row for row in rows if "bid" in row]
    trade_rows = [row for row in rows if "trade_id" in row]
    frames = quotes(*quote_rows), trades(*trade_rows), gaps(*gap_rows), venue_stats(*stats)
    [row] = board(*frames, as_of=as_of, windows={"w": window}).rows(named=True)
    return row


def move_of(*rows, **more):
    """Verdict and move over one window."""
    row = row_of(*rows, **more)
    return row["verdict"], row["move_pp"]


def test_plain_move():
    """The row of a market that went from 0.41 to 0.52 within the hour, each figure of it."""
    row = row_of(
        quote(0.40, 0.42, at="10:00:00", seq=11),
        quote(0.50, 0.54, at="11:30:00", seq=12),
        trade(0.54, size=100, at="11:00:00", seq=13),  # the edge of the window is outside it
        trade(0.54, size=200, at="11:30:01", seq=14),
        trade(0.50, size=100, at="12:00:00", seq=15),
        trade(0.50, size=999, at="12:00:01", seq=16),
        trade(0.50, size=999, at="11:30:02", seq=17, is_block_trade=True),
    )
    prices = ("price_then", "price_now", "bid", "ask", "spread_then", "spread_now")
    assert [row[name] for name in prices] == pytest.approx([0.41, 0.52, 0.50, 0.54, 0.02, 0.04])
    assert (row["verdict"], row["rule_then"], row["rule_now"]) == ("ok", "mid", "mid")
    assert (row["move_pp"], row["effective_move_pp"], row["biggest"]) == (11.0, 8.0, 8.0)
    assert (row["coverage_then"], row["coverage_now"], row["coverage_window"]) == (1.0, 1.0, 1.0)
    assert (row["trades"], row["notional_usd"], row["is_across_gap"]) == (2, 158.0, False)
    assert (row["first_seq"], row["last_seq"], row["as_of"], row["window"]) == (11, 12, AS_OF, "w")


def test_columns_are_those_of_the_table():
    """A board has the columns and types of `schema.MOVERS`, with and without rows."""
    full = board(quotes(quote()), trades(), gaps(), as_of=AS_OF)
    empty = board(QUOTES.empty().drop("venue"), TRADES.empty(), GAPS.empty(), as_of=AS_OF)
    assert dict(full.schema) == dict(empty.schema) == dict(MOVERS.columns)
    assert (full.height, empty.height) == (4, 0)


def test_venue_comes_along():
    """Where the rows say their venue, so does the board."""
    frames = quotes(quote(), venue="kalshi"), trades(venue="kalshi"), gaps(venue="kalshi")
    assert board(*frames, as_of=AS_OF)["venue"].to_list() == ["kalshi"] * 4


def test_quote_in_force():
    """The quotes shown are those at `as_of`, with that instant's own row and none of a later one."""
    row = row_of(quote(at="10:00"), quote(0.50, 0.52, at="12:00:00"), quote(0.60, 0.62, at="12:00:00.000001"))
    assert (row["bid"], row["ask"], row["price_now"]) == (0.50, 0.52, pytest.approx(0.41))


def test_markets_of_the_board():
    """A market is on the board from its first quote or trade on, and not for a gap alone."""
    rows = [quote(market=3, at="12:00:00"), quote(market=4, at="12:00:01")]
    found = board(quotes(*rows), trades(trade(market=5)), gaps(gap("11:00", market=6)), as_of=AS_OF)
    assert found["market_key"].unique().sort().to_list() == [3, 5]


def test_ask_pulled_for_two_seconds():
    """A side that is away for two seconds moves no median."""
    rows = [
        quote(at="10:00:00"),
        quote(0.40, None, at="11:59:50"),
        quote(0.40, 0.49, at="11:59:51"),
        quote(at="11:59:52"),
    ]
    assert move_of(*rows) == ("ok", 0.0)


def test_trades_alternate_while_the_book_stands():
    """No move, and not listed."""
    prints = [trade(0.45 + 0.1 * (number % 2), 100, f"11:{number}:00") for number in range(10, 60)]
    row = row_of(quote(0.45, 0.55, at="10:00:00"), *prints)
    assert (row["move_pp"], row["classic"], row["classic_rank"], row["biggest_rank"]) == (0.0, None, None, None)
    assert row["notional_usd"] == pytest.approx(sum(row["price"] * row["size"] for row in prints))


def test_spread_opens_without_trades():
    """No move while the book is 40 cents wide."""
    assert move_of(quote(0.50, 0.52, at="10:00"), quote(0.45, 0.85, at="11:50")) == ("insufficient_coverage", None)


def test_missing_former_price():
    """What was not there before is insufficient data, not a rise from zero."""
    row = row_of(quote(0.49, 0.51, at="11:50:00"))
    assert (row["verdict"], row["move_pp"], row["price_then"]) == ("insufficient_coverage", None, None)
    assert (row["coverage_then"], row["coverage_now"], row["price_now"]) == (0.0, 1.0, 0.5)
    assert (row["biggest"], row["classic"], row["biggest_rank"]) == (None, None, None)


def test_placeholder_is_no_former_price():
    """A market listed with an empty or a placeholder book did not fall when its first real quote came."""
    rows = [quote(None, None, at="10:00"), quote(0.01, 0.99, at="10:01"), quote(0.07, 0.09, at="11:30")]
    assert move_of(*rows) == ("insufficient_coverage", None)


@pytest.mark.parametrize(
    ("start", "verdict"),
    [("10:58:50.4", "ok"), ("10:59:02.4", "ok"), ("10:59:02.5", "insufficient_coverage")],
)
def test_slice_needs_four_fifths(start, verdict):
    """A slice of 72 seconds needs 57.6 covered: from 10:59:02.4 on, if it ends at 11:00."""
    assert move_of(quote(at=start))[0] == verdict


def test_change_of_rule_is_no_move():
    """From the middle to a last trade is another ruler, not another length."""
    rows = [quote(0.40, 0.42, at="10:00"), trade(0.50, at="11:55"), quote(0.40, 0.55, at="11:55")]
    row = row_of(*rows)
    assert (row["verdict"], row["rule_then"], row["rule_now"]) == ("rule_changed", "mid", "last_trade")
    assert (row["move_pp"], row["price_now"]) == (None, 0.50)


@pytest.mark.parametrize(
    ("start", "end", "verdict", "across"),
    [
        ("11:59:50", "11:59:51", "gap_in_slice", False),
        ("10:59:00", "10:59:01", "gap_in_slice", False),
        ("10:50:00", "10:58:48", "insufficient_coverage", False),  # before the slice; nothing restored the quote
        ("11:20:00", "11:30:00", "insufficient_coverage", True),
    ],
)
def test_gap_without_a_fresh_quote(start, end, verdict, across):
    """A gap that touches a slice excludes it whatever its share; and a quote before a gap is worth nothing after it."""
    row = row_of(quote(at="10:00:00"), gap_rows=[gap(start, end)])
    assert (row["verdict"], row["move_pp"], row["is_across_gap"]) == (verdict, None, across)


@pytest.mark.parametrize(
    ("end", "verdict"),
    [("10:58:48", "ok"), ("10:58:48.000001", "gap_in_slice")],
)
def test_edges_of_a_slice(end, verdict):
    """The slice is (10:58:48, 11:00:00], the gap [10:30, end): they meet only if the gap ends after 10:58:48."""
    assert move_of(quote(at=end), gap_rows=[gap("10:30", end)])[0] == verdict


def test_gap_between_the_slices():
    """A gap strictly between is allowed, lowers the coverage of the window and marks the row."""
    row = row_of(quote(at="10:00"), quote(0.50, 0.52, at="11:24"), gap_rows=[gap("11:12", "11:24", market=None)])
    assert (row["verdict"], row["move_pp"], row["is_across_gap"]) == ("ok", 10.0, True)
    assert row["coverage_window"] == 0.8


def test_open_gap_ends_at_the_next_quote():
    """A gap without an end touches no slice after the market's next quote, and every slice until then."""
    rows = [quote(at="10:00"), quote(0.50, 0.52, at="11:30")]
    assert move_of(*rows, gap_rows=[gap("11:10")]) == ("ok", 10.0)
    assert move_of(rows[0], gap_rows=[gap("11:10")])[0] == "gap_in_slice"


def test_open_gap_does_not_end_at_another_market():
    """The quote that ends a gap is the market's own."""
    rows = quotes(quote(at="10:00", market=1), quote(at="11:30", market=2))
    found = board(rows, trades(), gaps(gap("11:10", market=1)), as_of=AS_OF, windows={"w": HOUR})
    assert found["verdict"].to_list() == ["gap_in_slice", "insufficient_coverage"]


def test_rule_of_a_slice():
    """The rule of a slice is the one in force the longest; the middle, if both lasted as long."""
    rows = [quote(at="10:00"), trade(0.47, at="11:50")]
    half, less = quote(0.40, 0.55, at="11:59:24"), quote(0.40, 0.55, at="11:59:23")
    assert row_of(*rows, half)["rule_now"] == "mid"
    assert row_of(*rows, less)["rule_now"] == "last_trade"


def test_long_silence_then_catch_up():
    """Over a gap of ten minutes the short window is excluded and the long one is across it."""
    rows = [quote(0.19, 0.21, at="10:00"), quote(0.59, 0.61, at="11:59")]
    unseen = gap("11:49", "11:59", market=None)
    assert move_of(*rows, gap_rows=[unseen], window=timedelta(minutes=5))[0] == "gap_in_slice"
    row = row_of(*rows, gap_rows=[unseen], window=timedelta(minutes=75))
    assert (row["verdict"], row["is_across_gap"]) == ("gap_in_slice", False)  # its slice of 90 s begins at 11:58:30
    assert row_of(*rows, gap_rows=[unseen])["verdict"] == "gap_in_slice"
    late = row_of(*rows, gap_rows=[unseen], as_of=instant("12:01:00"))
    assert (late["verdict"], late["move_pp"], late["is_across_gap"]) == ("ok", 40.0, True)


def test_ten_minutes_of_history_are_no_day():
    """After a restart the day's volume is the venue's or unknown, never that of ten minutes."""
    rows = [quote(at="11:50"), trade(0.41, size=100_000, at="11:55")]
    row = row_of(*rows, window=timedelta(hours=24))
    assert (row["verdict"], row["volume_24h_usd"], row["volume_basis"]) == ("insufficient_coverage", None, None)
    assert row["notional_usd"] == 41_000
    told = row_of(*rows, stats=[venue_stat("11:30", volume_24h_usd=7_000.0), venue_stat("11:00", volume_24h_usd=5.0)])
    assert (told["volume_24h_usd"], told["volume_basis"]) == (7_000.0, "venue_reported")


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        (venue_stat("11:30", volume_24h_contracts=1_000.0), (410.0, "venue_contracts")),
        (venue_stat("11:30", volume_24h_contracts=1_000.0, volume_24h_usd=3.0), (3.0, "venue_reported")),
        (venue_stat("12:00:01", volume_24h_usd=3.0), (None, None)),  # not yet known
        (venue_stat("2026-03-01 12:00", volume_24h_usd=3.0), (None, None)),  # a day old
        (venue_stat("11:30"), (None, None)),
    ],
)
def test_volume_as_reported(stat, expected):
    """Dollars as the venue reports them, else its contracts at today's price, else nothing."""
    row = row_of(quote(at="11:50"), stats=[stat])
    assert (row["volume_24h_usd"] and round(row["volume_24h_usd"], 6), row["volume_basis"]) == expected


def test_a_row_without_a_figure_takes_none_back():
    """A ticker's row between polls reports other figures; each unit has its newest value."""
    stats = [
        venue_stat("11:20", volume_24h_usd=5.0), venue_stat("11:30", volume_24h_usd=7.0, volume_24h_contracts=1.0),
        venue_stat("11:40", volume_total_contracts=9.0), venue_stat("11:40", market=2, volume_24h_usd=1.0),
    ]  # fmt: skip
    row = row_of(quote(at="11:50"), stats=stats)
    assert (row["volume_24h_usd"], row["volume_basis"]) == (7.0, "venue_reported")


def test_day_without_a_trade_is_not_called_zero():
    """A market that was watched all day by a feed that tells of no trades has the venue's volume, or an unknown one."""
    watched = quote(at="2026-03-01 09:00")
    assert (row_of(watched)["volume_24h_usd"], row_of(watched)["volume_basis"]) == (None, None)
    told = row_of(watched, stats=[venue_stat(volume_24h_usd=750.0, at="11:00")])
    assert (told["volume_24h_usd"], told["volume_basis"]) == (750.0, "venue_reported")


@pytest.mark.parametrize(
    ("first", "book", "basis"),
    [
        ("2026-03-01 16:48", (0.40, 0.42), "observed"),  # 19.2 of 24 hours
        ("2026-03-01 16:49", (0.40, 0.42), None),
        ("2026-03-01 16:48", (None, None), "observed"),  # watched, though it has no price
    ],
)
def test_volume_as_observed(first, book, basis):
    """What we counted is the day's volume if the feed was live for four fifths of the day."""
    rows = [quote(*book, at=first), trade(0.5, size=10, at="11:00"), trade(0.5, size=7, at="2026-03-01 12:00")]
    row = row_of(*rows)
    assert (row["volume_basis"], row["volume_24h_usd"]) == (basis, basis and 5.0)
    told = row_of(*rows, stats=[venue_stat("11:30", volume_24h_usd=9.0)])
    assert (told["volume_basis"], told["volume_24h_usd"]) == (basis or "venue_reported", 5.0 if basis else 9.0)


@pytest.mark.parametrize(
    ("weighed", "expected"),
    [
        ([(0.1, 1)], 0.1),
        ([(0.1, 1), (0.2, 2)], 0.2),
        ([(0.1, 1), (0.2, 1)], 0.15),
        ([(0.1, 3), (0.2, 1), (0.3, 2)], 0.15),
        ([(0.3, 1), (0.1, 1), (0.2, 1)], 0.2),
        ([(0.1, 1), (None, 9)], 0.1),
        ([(None, 9)], None),
    ],
)
def test_weighted_median(weighed, expected):
    """Half of the weight lies on either side; on the edge it is the mean of both neighbours."""
    rows = pl.LazyFrame([(7, *row) for row in weighed], schema=["key", "value", "weight"], orient="row")
    other = pl.LazyFrame({"key": [8], "value": [0.9], "weight": [5]})
    rows = rows.with_columns(pl.col("value").cast(pl.Float64))
    found = dict(weighted_median(pl.concat([other, rows]), "key", "value", "weight").collect().rows())
    assert (found.get(7) and round(found[7], 9), found[8]) == (expected, 0.9)


@examples(30)
@given(sessions(), st.integers(0, 600))
def test_agrees_with_the_rules_read_one_row_at_a_time(session: Session, steps: int):
    """Prices, spreads, rules, coverage and verdict are those of the plain reading of the rules."""
    as_of = OPENING + steps * STEP
    found = board(*session.frames, as_of=as_of, windows=WINDOWS)
    for name, window in WINDOWS.items():
        for market in MARKETS:
            for row in found.filter(pl.col("market_key") == market, pl.col("window") == name).rows(named=True):
                expected = plain_move(session, market, as_of, window)
                assert {key: row[key] for key in expected} == expected


def plain_move(session, market, as_of, window):
    """What the rules say of one market, by looking at every step of both slices."""
    spans, row = slices(as_of, window), {}
    for side, span in (("then", spans.then), ("now", spans.now)):
        steps = naive.grid(session, market, min(OPENING, span.start), span.end, STEP)
        inside = [step for step in steps if step["time"] >= span.start]
        priced = [step for step in inside if step["price"] is not None]
        middles = sum(step["rule"] == "mid" for step in priced)
        row[f"coverage_{side}"] = len(priced) / len(inside)
        row[f"price_{side}"] = median(step["price"] for step in priced) if priced else None
        row[f"spread_{side}"] = median(step["ask"] - step["bid"] for step in priced) if priced else None
        row[f"rule_{side}"] = ("mid" if 2 * middles >= len(priced) else "last_trade") if priced else None
    unseen = naive.gap_ends(session, market, as_of)
    hit = any(s < span.end and (e is None or e > span.start) for s, e in unseen for span in (spans.then, spans.now))
    if hit:
        row["verdict"] = "gap_in_slice"
    elif min(row["coverage_then"], row["coverage_now"]) < 0.8:
        row["verdict"] = "insufficient_coverage"
    else:
        row["verdict"] = "ok" if row["rule_then"] == row["rule_now"] else "rule_changed"
    is_ok = row["verdict"] == "ok"
    row["move_pp"] = round((row["price_now"] - row["price_then"]) * 100, 9) + 0.0 if is_ok else None
    in_window = [t for t in session.trades if t["market_key"] == market and as_of - window < t["event_time"] <= as_of]
    last = naive.grid(session, market, min(OPENING, spans.then.start), as_of + STEP, STEP)[-1]
    row["bid"], row["ask"] = last["bid"], last["ask"]
    row["trades"] = sum(not t["is_block_trade"] for t in in_window)
    return row


@examples(15)
@given(sessions(), st.integers(0, 600), st.randoms())
def test_order_and_repeats_do_not_matter(session: Session, steps: int, random):
    """The same rows shuffled, and some of them twice, give the identical board."""
    shuffled = []
    for rows in session:
        again = rows + [row for row in rows if random.random() < 0.3]
        random.shuffle(again)
        shuffled.append(again)
    as_of = OPENING + steps * STEP
    expected = board(*session.frames, as_of=as_of, windows=WINDOWS)
    assert board(*Session(*shuffled).frames, as_of=as_of, windows=WINDOWS).equals(expected)


@examples(15)
@given(sessions(), st.integers(0, 600))
def test_markets_do_not_see_each_other(session: Session, steps: int):
    """But for its ranks, a market's row is the same to the last bit without the other markets."""
    as_of, ranks = OPENING + steps * STEP, ("biggest_rank", "classic_rank")
    together = board(*session.frames, as_of=as_of, windows=WINDOWS).drop(ranks)
    for market in MARKETS:
        alone = board(*only(session, market).frames, as_of=as_of, windows=WINDOWS).drop(ranks)
        assert alone.equals(together.filter(pl.col("market_key") == market))


def only(session: Session, market: int) -> Session:
    """The rows of one market, and the gaps of all."""
    return Session(*([row for row in rows if row["market_key"] in (market, None)] for rows in session))


@examples(15)
@given(sessions(), st.integers(0, 600))
def test_complement_mirrors(session: Session, steps: int):
    """The other outcome's prices are 1 - p and its moves are the negatives; nothing else differs."""
    as_of = OPENING + steps * STEP
    row = board(*session.frames, as_of=as_of, windows=WINDOWS)
    other = board(*mirrored(session).frames, as_of=as_of, windows=WINDOWS)
    turned = row.with_columns(
        price_then=1 - pl.col("price_then"),
        price_now=1 - pl.col("price_now"),
        bid=1 - pl.col("ask"),
        ask=1 - pl.col("bid"),
        move_pp=0.0 - pl.col("move_pp"),
        effective_move_pp=0.0 - pl.col("effective_move_pp"),
    )
    own_price = ("notional_usd", "volume_24h_usd", "classic", "classic_rank", "biggest_rank")
    assert_frame_equal(other.drop(own_price), turned.drop(own_price), abs_tol=1e-9)


@examples(15)
@given(sessions(), st.integers(0, 600))
def test_needs_no_more_than_it_says(session: Session, steps: int):
    """The rows that `needs` names and what is carried into them make the same moves as all rows."""
    as_of, window = OPENING + steps * STEP, timedelta(minutes=5)
    span = slices(as_of, window).then
    old = carry(*session.frames, before=span.start)
    late = pl.col("event_time") >= span.start
    quote_rows, trade_rows, gap_rows = session.frames
    loaded = (
        pl.concat([old.quotes, quote_rows.filter(late)]),
        pl.concat([old.trades, trade_rows.filter(late)]),
        pl.concat([old.gaps, gap_rows.filter(pl.col("start_time") >= span.start)]),
    )
    assert needs(as_of, window).start <= span.start
    of_the_day = ("volume_24h_usd", "volume_basis")
    expected = moves(reference(*session.frames), trade_rows, as_of=as_of, windows={"5m": window}).drop(of_the_day)
    found = moves(reference(*loaded), loaded[1], as_of=as_of, windows={"5m": window}).drop(of_the_day)
    seen = expected.filter(pl.col("coverage_window") + pl.col("coverage_then") + pl.col("trades") > 0)
    assert found.join(seen.select("market_key"), on="market_key", how="semi").equals(seen)


def bar(at: str, close: float | None = 0.30, bid: float | None = None, ask: float | None = None, **columns) -> dict:
    """A row of the venue's history, 5 minutes from `at` on."""
    known = {"market_key": 1, "interval": "5m", "bar_start": instant(at), "close": close, "seq": 1}
    return dict.fromkeys(HISTORY.columns) | known | {"bid_close": bid, "ask_close": ask} | columns


def former(*bars: dict, rows=(), gap_rows=()) -> dict:
    """The row of a market that is watched since 11:30 only, an hour's window at 12:00."""
    ticks = [quote(0.50, 0.54, at="11:30"), *rows]
    history = builders.frame(HISTORY, bars)
    given = quotes(*ticks), trades(), gaps(*gap_rows)
    return board(*given, history=history, as_of=AS_OF, windows={"w": HOUR}).row(0, named=True)


def test_former_price_of_the_venues_history():
    """It is named by its rule, is no coverage, and the spread now counts for both."""
    row = former(bar("10:55"))
    assert (row["verdict"], row["rule_then"], row["price_then"]) == ("ok", "venue_history", 0.30)
    assert (row["coverage_then"], row["coverage_window"], row["spread_then"]) == (0.0, 0.5, None)
    assert (row["move_pp"], row["effective_move_pp"], row["biggest_rank"]) == (22.0, 18.0, 1)


@pytest.mark.parametrize(
    ("bars", "price"),
    [
        ([bar("10:55", None, 0.20, 0.30)], 0.25),  # the middle of its quotes
        ([bar("10:55", 0.28, 0.20, 0.31)], 0.28),  # a book that is too wide has none
        ([bar("10:55", 0.28, 0.20, None)], 0.28),
        ([bar("10:55", 0.28, 0.30, 0.20)], 0.28),
        ([bar("10:45"), bar("10:50", 0.40)], 0.40),  # the nearest
        ([bar("10:50"), bar("10:55", None)], 0.30),  # with a price
        ([bar("10:50", seq=2), bar("10:50", 0.90, seq=1)], 0.30),  # the newest version
        ([bar("10:45")], 0.30),  # ten minutes old
        ([bar("10:44:59")], None),
        ([bar("10:55:01")], None),  # ends after the opening
        ([bar("10:55", interval="1m")], None),
        ([bar("10:55", market_key=2)], None),
        ([], None),
    ],
)
def test_which_bar_of_the_history(bars, price):
    """The bar with a price that ended last by the opening, at most ten minutes before it."""
    row = former(*bars)
    assert row["price_then"] == price
    assert (row["verdict"] == "ok") == (price is not None)


def test_what_was_watched_needs_no_history():
    """A slice with a price of ours keeps it; one that was watched without a price has none, whatever the venue says."""
    assert former(bar("10:55"), rows=[quote(0.44, 0.46, at="10:50")])["price_then"] == 0.45
    placeholder = former(bar("10:55"), rows=[quote(0.01, 0.99, at="10:50")])
    assert (placeholder["verdict"], placeholder["price_then"]) == ("insufficient_coverage", None)


def test_history_bridges_a_gap_of_then_and_none_of_now():
    """A gap over the former slice gives way to the venue's history; one that touches the slice of now does not."""
    before = quote(0.44, 0.46, at="10:00")
    row = former(bar("10:55"), rows=[before], gap_rows=[gap("10:30", "11:30")])
    assert (row["verdict"], row["rule_then"], row["is_across_gap"]) == ("ok", "venue_history", True)
    row = former(bar("10:55"), gap_rows=[gap("11:59:30", "11:59:40")], rows=[quote(0.50, 0.54, at="11:59:40")])
    assert (row["verdict"], row["move_pp"]) == ("gap_in_slice", None)
    row = former(bar("10:55"), rows=[before], gap_rows=[gap("10:59:58", "10:59:59")])
    assert row["verdict"] == "gap_in_slice"


def test_history_needs_a_price_of_now():
    """The slice of now is ours or there is no move."""
    row = former(bar("10:55"), rows=[quote(None, 0.54, at="11:55")])
    assert (row["verdict"], row["move_pp"]) == ("insufficient_coverage", None)

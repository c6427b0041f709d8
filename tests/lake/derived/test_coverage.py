"""The watched share of a window, against a set of its seconds."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.derived.coverage import UNFOLLOWED, coverage, reasons, unseen
from lake.derived.movers import gap_spans
from lake.derived.prices import reference
from lake.schema import TIME
from lake.vocab import Gap
from tests.builders import Row, gap, gaps, instant, quote, quotes, trades
from tests.strategies import MARKETS, Session, examples, instants, sessions

TEN = timedelta(seconds=10)
ALL = pl.LazyFrame({"market_key": MARKETS})


def windows(*ends: tuple[str | datetime, str | datetime]) -> pl.LazyFrame:
    rows = [(instant(start), instant(end)) for start, end in ends]
    return pl.LazyFrame(rows, schema={"start_time": TIME, "end_time": TIME}, orient="row")


def share(gap_rows: list[Row], *ends: tuple[str, str], quote_rows: list[Row] | None = None, market: int = 1) -> list:
    """The coverage of each window."""
    known = None if quote_rows is None else quotes(*quote_rows)
    found = unseen(gaps(*gap_rows), pl.LazyFrame({"market_key": [market]}), known)
    return coverage(found, pl.LazyFrame({"market_key": [market]}), windows(*ends)).collect()["coverage"].to_list()


HOUR = ("10:00:00", "11:00:00")


def test_no_gap_is_all():
    """A market without a gap was watched all the time."""
    assert share([], HOUR) == [1.0]


def test_overlapping_gaps_count_once():
    """A market's gap and its venue's, half over one another, take the time of both together."""
    rows = [gap("10:00:00", "10:20:00"), gap("10:10:00", "10:30:00", market=None), gap("10:05:00", "10:06:00")]
    assert share(rows, HOUR) == [0.5]


def test_an_announced_gap_counts_with_its_end():
    """The row that was written before the gap ended, without an end, adds nothing."""
    rows = [gap("10:00:00", seq=5), gap("10:00:00", "10:15:00", seq=9)]
    assert share(rows, HOUR) == share(rows[::-1], HOUR) == [0.75]


def test_a_gap_without_an_end_lasts_until_the_next_quote_or_the_end():
    """Quotes before it, and those of other markets, end nothing."""
    rows = [gap("10:30:00")]
    others = [quote(at="10:20:00"), quote(at="10:40:00", market=2)]
    assert share(rows, HOUR, quote_rows=others) == [0.5]
    assert share(rows, HOUR, quote_rows=[*others, quote(at="10:45:00"), quote(at="10:50:00")]) == [0.75]


def test_gap_of_another_venue_hits_nobody():
    """A gap of a whole venue is that venue's."""
    told = gaps(gap("10:00:00", "10:30:00", market=None), venue="kalshi")
    markets = pl.LazyFrame({"market_key": [1, 2], "venue": ["kalshi", "polymarket"]})
    found = coverage(unseen(told, markets), markets, windows(HOUR)).collect()
    assert found["coverage"].to_list() == [0.5, 1.0]


def test_time_before_the_feed_began_is_unseen():
    """A market that is followed since the middle of a window was watched for half of it."""
    markets = pl.LazyFrame({"market_key": [1, 2]})
    followed = pl.LazyFrame(
        {"market_key": [1], "event_time": [instant("10:30:00")]}, schema_overrides={"event_time": TIME}
    )
    lost = unseen(gaps(), markets, None, followed)
    assert coverage(lost, markets, windows(HOUR)).collect()["coverage"].to_list() == [0.5, 1.0]
    assert reasons(lost, windows(HOUR)).collect()["reason"].to_list() == [UNFOLLOWED]


def test_reasons_say_how_long():
    """Each reason has the time of its own gaps, the longest first; gaps of one reason count once."""
    rows = [
        gap("10:00:00", "10:10:00", reason=Gap.SILENCE.value),
        gap("10:05:00", "10:20:00", reason=Gap.SILENCE.value, connection="c2"),
        gap("10:15:00", "10:40:00", market=None),
    ]
    found = reasons(unseen(gaps(*rows), ALL), windows(HOUR)).filter(pl.col("market_key") == 1).collect()
    assert found.select("reason", "seconds").rows() == [("disconnected", 1500.0), ("silence", 1200.0)]


def test_nothing_gives_nothing():
    """No gaps and no markets make frames without rows."""
    nobody = ALL.clear()
    assert coverage(unseen(gaps(), nobody), nobody, windows(HOUR)).collect().is_empty()
    assert reasons(unseen(gaps(), nobody), windows(HOUR)).collect().is_empty()


spans = st.tuples(instants(), st.integers(1, 120)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1] * TEN))


def naive_unseen(session: Session, market: int, start: datetime, end: datetime) -> set[datetime]:
    """Every tenth second of the window that lies in a gap, gap by gap and second by second."""
    told: dict[tuple, Row] = {}
    for row in sorted(
        session.gaps, key=lambda row: (row["end_time"] is not None, row["end_time"] or start, row["seq"])
    ):
        told[row["connection"], row["market_key"], row["start_time"], row["reason"]] = row
    seen_again = sorted((row["event_time"], row["seq"]) for row in session.quotes if row["market_key"] == market)
    lost = set()
    for row in told.values():
        if row["market_key"] not in (market, None):
            continue
        later = [time for time, seq in seen_again if (time, seq) >= (row["start_time"], row["seq"])]
        stop = row["end_time"] or min(later, default=end)
        step = start
        while step < end:
            if row["start_time"] <= step < stop:
                lost.add(step)
            step += TEN
    return lost


@examples(60)
@given(sessions(), st.lists(spans, min_size=1, max_size=4))
def test_agrees_with_a_set_of_seconds(session: Session, drawn):
    """For every market and window, the share and the seconds are those of a set in which each instant is once."""
    quote_frame, _, gap_frame = session.frames
    found = coverage(unseen(gap_frame, ALL, quote_frame), ALL, windows(*drawn)).collect()
    assert found.height == len(MARKETS) * len(set(drawn))
    for market, start, end, seen, seconds in found.iter_rows():
        lost = 10 * len(naive_unseen(session, market, start, end))
        assert seconds == lost
        assert seen == pytest.approx(1 - lost / (end - start).total_seconds())


@examples(40)
@given(sessions())
def test_agrees_with_the_gaps_of_movers(session: Session):
    """The stretches of the quoted markets are those that a board calls gaps."""
    quote_frame, _, gap_frame = session.frames
    quoted = quote_frame.select("market_key").unique()
    theirs = gap_spans(reference(quote_frame, trades(), gap_frame)).join(quoted, on="market_key", how="semi")
    mine = unseen(gap_frame, quoted, quote_frame)
    order = ["market_key", "start", "end"]
    assert mine.select(order).sort(order).collect().equals(theirs.select(order).sort(order).collect())


@examples(30)
@given(sessions(), spans)
def test_order_and_repeats_do_not_matter(session: Session, drawn):
    """Gaps given twice and backwards give the identical frame."""
    quote_frame, _, gap_frame = session.frames
    expected = coverage(unseen(gap_frame, ALL, quote_frame), ALL, windows(drawn)).collect()
    again = pl.concat([gap_frame.reverse(), gap_frame])
    found = coverage(unseen(again, pl.concat([ALL, ALL]), pl.concat([quote_frame, quote_frame])), ALL, windows(drawn))
    assert found.collect().equals(expected)


@examples(30)
@given(sessions(), spans)
def test_reasons_add_up_to_what_is_unseen_at_least(session: Session, drawn):
    """Together the reasons take as long as is unseen, or longer where they overlap; none takes longer than all."""
    quote_frame, _, gap_frame = session.frames
    named = gap_frame.with_columns(
        reason=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("silence")).otherwise(pl.lit("overload"))
    )
    lost = unseen(named, ALL, quote_frame)
    sums = reasons(lost, windows(drawn)).group_by("market_key").agg(
        total=pl.col("seconds").sum(), most=pl.col("seconds").max()
    )  # fmt: skip
    both = coverage(lost, ALL, windows(drawn)).join(sums, on="market_key", how="left").collect().fill_null(0)
    assert both.select(
        (pl.col("total") >= pl.col("unseen_seconds")).all() & (pl.col("most") <= pl.col("unseen_seconds")).all()
    ).item()


def test_the_window_is_half_open():
    """A gap that ends where the window starts, or starts where it ends, takes nothing."""
    assert share([gap("09:00:00", "10:00:00"), gap("11:00:00", "12:00:00")], HOUR) == [1.0]

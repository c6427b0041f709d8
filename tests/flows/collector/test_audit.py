"""A market that stands still while REST moves is found; one that only looks so is left alone."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.audit import BATCH, LIVELY_US, RATE, Audit
from flows.collector.books import DOUBTED
from flows.collector.connection import Link
from flows.collector.intake import Intake
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import Listed
from flows.venues.base import Wire
from lake.clock import SECOND_US
from lake.schema import GAPS, QUOTES
from lake.vocab import Gap
from tests.flows.feed import MARKET, NO, START, TICKER, YES, Feed

STREAM, AUDIT = "polymarket-1", "polymarket-audit"
LATER = DOUBTED // SECOND_US + 1


def book(bid: str, ask: str, at: int, token: str = YES, size: str = "10") -> dict[str, object]:
    sides = {"bids": [{"price": bid, "size": size}], "asks": [{"price": ask, "size": "20"}]}
    return {
        "event_type": "book",
        "market": MARKET,
        "asset_id": token,
        "timestamp": str(at // 1000),
        "hash": "",
        **sides,
    }


class Run(Feed):
    """A stream of one market, and what REST says of it."""

    def __init__(self) -> None:
        super().__init__(Wire.POLYMARKET_SOCKET, auditing=[AUDIT])
        self.opened(connection=STREAM)
        self.stream("0.40", "0.42")

    def stream(self, bid: str, ask: str, step: float = 1.0) -> None:
        self.send(book(bid, ask, self.now), connection=STREAM, step=step)

    def rest(self, bid: str, ask: str, step: float = 1.0, old: int = 0, size: str = "10") -> None:
        """REST tells a state of `old` seconds ago."""
        at = self.now + round(step * SECOND_US) - old * SECOND_US
        self.send([book(bid, ask, at, size=size)], connection=AUDIT, wire=Wire.CLOB_BOOKS, step=step)

    def reasons(self) -> list[str]:
        return [gap["reason"] for gap in self.rows(GAPS)]


def test_market_that_stands_still():
    """Told otherwise twice, it is a gap since the stream's last word, then what REST says, until the stream goes on."""
    run = Run()
    last = run.now
    run.rest("0.50", "0.52")
    assert run.reasons() == [] and len(run.tops(QUOTES)) == 1
    run.rest("0.51", "0.53", step=LATER)
    [gap] = run.rows(GAPS)
    assert gap["reason"] == Gap.FROZEN.value and gap["connection"] == STREAM
    assert _us(gap["start_time"]) <= last + 1 and _us(gap["end_time"]) == run.now
    assert [row["source"] for row in run.rows(QUOTES)] == ["book", "rest"]
    run.rest("0.54", "0.56")
    run.stream("0.55", "0.57")
    assert [row["source"] for row in run.rows(QUOTES)] == ["book", "rest", "rest", "book"]
    assert run.pipeline.feeds(STREAM) and not run.pipeline.feeds(AUDIT)


def test_sizes_that_stand_still():
    """Prices may stay for long; a size that REST tells otherwise, twice, shows the same."""
    run = Run()
    run.rest("0.40", "0.42", size="11")
    run.rest("0.40", "0.42", step=LATER, size="12")
    assert run.reasons() == [Gap.FROZEN.value]


@pytest.mark.parametrize("what", ["agrees", "moves", "is older", "soon"])
def test_market_that_does_not(what):
    """REST agrees again; our book has moved meanwhile; the answer is older than our book; it is too early to say."""
    run = Run()
    run.rest("0.50", "0.52")
    match what:
        case "agrees":
            run.rest("0.40", "0.42", step=LATER)
            run.rest("0.50", "0.52")
        case "moves":
            run.stream("0.45", "0.47", step=LATER)
            run.rest("0.50", "0.52")
        case "is older":
            run.rest("0.50", "0.52", step=LATER, old=60)
        case "soon":
            run.rest("0.50", "0.52", step=LATER / 2 - 1)
    assert run.reasons() == [] and {row["source"] for row in run.rows(QUOTES)} == {"book"}


def test_kalshi_has_no_times():
    """There REST's answers carry no time, and a cache may keep them: only a book that does not move is doubted."""
    run = Feed(Wire.KALSHI_SOCKET, auditing=["kalshi-audit"], use_yes_price=True)
    run.opened(connection="kalshi-1")
    sides = {"yes_dollars_fp": [["0.4000", "10.00"]], "no_dollars_fp": [["0.4200", "20.00"]]}
    snapshot = {"type": "orderbook_snapshot", "sid": 1, "seq": 1, "msg": {"market_ticker": TICKER, **sides}}
    run.send(snapshot, connection="kalshi-1")
    market = {
        "ticker": TICKER, "event_ticker": "E", "status": "active", "yes_bid_dollars": "0.5000",
        "yes_ask_dollars": "0.5200", "yes_bid_size_fp": "1.00", "yes_ask_size_fp": "1.00",
    }  # fmt: skip
    for step in (1.0, LATER):
        run.send({"markets": [market], "cursor": ""}, connection="kalshi-audit", wire=Wire.KALSHI_REST, step=step)
    assert [gap["reason"] for gap in run.rows(GAPS)] == [Gap.FROZEN.value]
    assert run.tops(QUOTES)[-1][:2] == (0.50, 0.52)


def test_doubts_are_known_after_a_crash():
    """A doubt is a part of the state."""
    run, after = Run(), Run()
    run.rest("0.50", "0.52")
    after.pipeline.restore(run.pipeline.state())
    after.now = run.now
    after.rest("0.51", "0.53", step=LATER)
    assert after.reasons() == [Gap.FROZEN.value]


def test_market_without_a_stream_is_told_by_rest():
    """What no stream has told of yet is taken as it is."""
    run = Feed(Wire.POLYMARKET_SOCKET, auditing=[AUDIT])
    run.send([book("0.50", "0.52", START, NO)], connection=AUDIT, wire=Wire.CLOB_BOOKS)
    assert [row["source"] for row in run.rows(QUOTES)] == ["rest"]


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.integers(1, 60))
def test_rounds(are_lively, seconds):
    """Lively markets are in each round, the others by and by, and no round has more than its time allows."""
    clock = Clock(wall=lambda: START, monotonic=lambda: 0.0)
    link = Link(Intake(0, clock), clock, Timing(), Random(1), Limiter(1), print, print)
    followed = [Listed(place, str(place), (), 0.0, None) for place in range(len(are_lively))]
    audit = Audit("a", lambda markets: iter(()), lambda: followed, link)
    room = max(BATCH, round(RATE * seconds) * BATCH)

    def changed(market: int) -> int | None:
        return START if are_lively[market] else START - 2 * LIVELY_US if market % 2 else None

    rounds = [{one.market for one in audit.chosen(changed, START, seconds)} for _ in range(len(are_lively))]
    lively = {market for market, is_lively in enumerate(are_lively) if is_lively}
    assert all(len(each) <= room for each in rounds)
    if len(lively) < room:
        assert all(lively <= each for each in rounds)
        assert set().union(*rounds) == {one.market for one in followed}


def _us(time) -> int:
    return round(time.timestamp() * 1_000_000)

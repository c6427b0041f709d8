"""A market goes from one connection to its successor: no row is lost, none doubled, however the two run ahead."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.handover import SETTLED, SILENT
from flows.venues.base import Closed, Wire
from lake.clock import SECOND_US
from lake.schema import GAPS, QUOTES
from lake.vocab import Gap
from tests.flows.feed import SECOND, START, TICKER, Feed, frame, kal

OLD, NEW = "kalshi-1", "kalshi-1~"
MS = START // 1000


class Change(NamedTuple):
    """What happens at the venue: a level's size changes."""

    side: str
    price: int  # cents
    by: int  # contracts


FIRST = {("yes", 40): 10, ("no", 60): 10}
"""The levels at the beginning; the second side is on the scale of the first."""


class Stream:
    """One connection's own telling: its snapshot is as of a place among the changes, then comes what follows."""

    def __init__(self, feed: Feed, name: str, changes: list[Change]) -> None:
        self.name, self.place = name, 0
        self._feed, self._changes, self._seq = feed, changes, 0

    def begin(self, place: int) -> None:
        """Open, and get the book as of that many changes."""
        self._feed.opened(connection=self.name)
        levels = dict(FIRST)
        for side, price, by in self._changes[:place]:
            levels[side, price] = levels.get((side, price), 0) + by
        sides = {
            f"{side}_dollars_fp": [
                [_price(price), f"{size}.00"] for (of, price), size in levels.items() if of == side and size
            ]
            for side in ("yes", "no")
        }
        self.place = place
        self._send("orderbook_snapshot", {"market_ticker": TICKER, **sides})

    def next(self) -> None:
        """Tell the next change."""
        side, price, by = self._changes[self.place]
        self.place += 1
        told = {"price_dollars": _price(price), "delta_fp": f"{by}.00", "side": side, "ts_ms": MS + self.place}
        self._send("orderbook_delta", {"market_ticker": TICKER, **told})

    def _send(self, kind: str, msg: dict[str, Any]) -> None:
        self._seq += 1
        self._feed.send({"type": kind, "sid": 1, "seq": self._seq, "msg": msg}, connection=self.name, step=0.001)


def _price(cents: int) -> str:
    return f"0.{cents:02}00"


def feed() -> Feed:
    return Feed(Wire.KALSHI_SOCKET, use_yes_price=True)


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Changes that leave no size below 0 and no book crossed: bids below 50 cents, asks above."""
    levels, found = dict(FIRST), []
    for _ in range(draw(st.integers(1, 25))):
        side = draw(st.sampled_from(["yes", "no"]))
        price = draw(st.integers(38, 42)) if side == "yes" else draw(st.integers(58, 62))
        size = draw(st.integers(0, 3)) * 5
        by = size - levels.get((side, price), 0)
        if by:
            levels[side, price] = size
            found.append(Change(side, price, by))
    return found


def tops(changes: list[Change]) -> list[tuple[Any, ...]]:
    """The rows of one connection that tells all from the beginning."""
    alone = feed()
    stream = Stream(alone, OLD, changes)
    stream.begin(0)
    for _ in changes:
        stream.next()
    return alone.tops(QUOTES)


@given(histories(), st.data())
def test_nothing_is_lost_or_doubled(changes, data):
    """Whichever of both tells a change first, and wherever the successor's book begins: the rows are those of one."""
    run = feed()
    old, new = Stream(run, OLD, changes), Stream(run, NEW, changes)
    old.begin(0)
    for _ in range(data.draw(st.integers(0, len(changes)), "told before")):
        old.next()
    new.begin(data.draw(st.integers(0, len(changes)), "place of the successor's book"))
    while len(changes) > min(old.place, new.place):
        able = [stream for stream in (old, new) if stream.place < len(changes)]
        data.draw(st.sampled_from(able)).next()
    run.now += SETTLED
    run.pipeline.tick(run.now, 0)
    assert run.pipeline.feeds(NEW) == {kal()} and not run.pipeline.feeds(OLD)
    run.pipeline.closed(Closed(OLD, run.now))
    changes.append(Change("yes", 45, 5))
    new.next()
    assert run.tops(QUOTES) == tops(changes)
    assert run.rows(GAPS) == []


def test_what_the_former_still_says_was_told():
    """After the hand-over the former's frames change nothing, and its end is no gap."""
    changes = [Change("yes", 41, 5), Change("yes", 41, -5), Change("no", 59, 5)]
    run = feed()
    old, new = Stream(run, OLD, changes), Stream(run, NEW, changes)
    old.begin(0)
    old.next()
    new.begin(0)
    new.next()  # both are at the first change
    assert run.pipeline.feeds(NEW) == {kal()}
    new.next()
    new.next()
    old.next()
    old.next()
    run.pipeline.closed(Closed(OLD, run.now))
    assert run.tops(QUOTES) == tops(changes) and run.rows(GAPS) == []


def test_a_former_that_ends_before():
    """What the successor knows is taken up at once; what may have been missed between is a gap."""
    changes = [Change("yes", 41, 5), Change("yes", 42, 5)]
    run = feed()
    old, new = Stream(run, OLD, changes), Stream(run, NEW, changes)
    old.begin(0)
    last = run.now
    new.begin(2)
    run.pipeline.closed(Closed(OLD, run.now, seq=run.next_seq))
    assert [top[0] for top in run.tops(QUOTES)] == [0.40, 0.42]
    [gap] = run.rows(GAPS)
    assert gap["reason"] == Gap.DISCONNECTED.value and run.pipeline.feeds(NEW) == {kal()}
    assert _us(gap["start_time"]) == last + 1 and _us(gap["end_time"]) == run.now


def test_a_former_that_is_silent():
    """A connection whose end nobody tells is followed after a while, with a gap since its last word."""
    changes = [Change("yes", 41, 5)]
    run = feed()
    Stream(run, OLD, changes).begin(0)
    new = Stream(run, NEW, changes)
    new.begin(1)
    run.now += SILENT - 2 * SECOND
    run.pipeline.tick(run.now, run.next_seq)
    assert run.pipeline.feeds(OLD) == {kal()}
    run.now += 2 * SECOND_US
    run.pipeline.tick(run.now, run.next_seq)
    assert run.pipeline.feeds(NEW) == {kal()} and [top[0] for top in run.tops(QUOTES)] == [0.40, 0.41]
    assert [gap["reason"] for gap in run.rows(GAPS)] == [Gap.DISCONNECTED.value]


def test_a_lost_book_is_the_successors_at_once():
    """Where the former's book is void, as after a hole in its numbers, the successor's ends the gap."""
    changes = [Change("yes", 41, 5), Change("yes", 42, 5), Change("no", 59, 5)]
    run = feed()
    old, new = Stream(run, OLD, changes), Stream(run, NEW, changes)
    old.begin(0)
    old._seq += 3
    old.next()
    assert run.tops(QUOTES) == [(0.40, 0.60, 10.0, 10.0)]
    new.begin(2)
    assert run.pipeline.feeds(NEW) == {kal()} and run.tops(QUOTES)[-1][0] == 0.42
    assert [gap["reason"] for gap in run.rows(GAPS)] == [Gap.SEQUENCE_HOLE.value]


def test_a_hole_of_the_successor_is_its_own():
    """What the successor missed does not void the book that the former feeds."""
    changes = [Change("yes", 41, 5), Change("yes", 42, 5)]
    run = feed()
    old, new = Stream(run, OLD, changes), Stream(run, NEW, changes)
    old.begin(0)
    new.begin(0)
    new._seq += 3
    new.next()
    old.next()
    old.next()
    assert run.tops(QUOTES) == tops(changes) and run.rows(GAPS) == [] and run.pipeline.feeds(OLD) == {kal()}


def test_it_goes_on_after_a_crash():
    """What a successor tells beside is known again from the state: the rest gives the same rows."""
    changes = [Change("yes", 41, 5), Change("yes", 42, 5), Change("no", 59, 5)]
    rows = []
    for is_restored in (False, True):
        run = feed()
        old, new = Stream(run, OLD, changes), Stream(run, NEW, changes)
        old.begin(0)
        new.begin(1)
        new.next()
        if is_restored:
            state, fresh = run.pipeline.state(), feed()
            fresh.pipeline.restore(state)
            fresh.now, fresh.sealed = run.now, run.sealed
            fresh.pipeline._segment = run.pipeline.open
            for stream in (old, new):
                stream._feed = fresh
            fresh._number = run._number
            run = fresh
        for _ in range(2):
            old.next()
        assert run.pipeline.feeds(NEW) == {kal()}
        new.next()
        rows.append(run.tops(QUOTES))
    assert rows[0] == rows[1] == tops(changes)


@pytest.mark.parametrize("is_open", [True, False])
def test_only_an_open_connection_is_followed(is_open):
    """A connection that has ended has no successor: whoever tells of its markets next, feeds them."""
    changes = [Change("yes", 41, 5)]
    run = feed()
    Stream(run, OLD, changes).begin(0)
    if not is_open:
        run.pipeline.closed(Closed(OLD, run.now))
    Stream(run, NEW, changes).begin(1)
    assert run.pipeline.feeds(NEW) == (set() if is_open else {kal()})


def _us(time: Any) -> int:
    return round(time.timestamp() * 1_000_000)


def test_a_catalogue_that_names_the_outcomes_the_other_way_round():
    """It is no connection that follows another: its word voids the book that a stream feeds."""
    run = Feed(Wire.POLYMARKET_SOCKET).opened()
    run.named("polymarket/best_bid_ask_second_token")
    assert len(run.tops(QUOTES)) == 1
    run.send(frame("polymarket/gamma_market"), wire=Wire.GAMMA, connection="polymarket-catalog")
    run.named("polymarket/best_bid_ask")
    assert [gap["reason"] for gap in run.rows(GAPS)] == [Gap.DIRECTION_CHANGED.value]
    assert run.tops(QUOTES)[-1][:2] == (0.51, 0.53)

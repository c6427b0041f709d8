"""Depth: the dollars that rest near the mid, told at most every ten seconds, and the same after a crash."""

from decimal import Decimal
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.books import Book
from flows.collector.depth import EVERY, near
from flows.collector.journal import Cut, Tick
from flows.collector.pipeline import Pipeline
from flows.collector.replay import adapters
from flows.venues.base import Frame, Wire, frame_seq
from lake.schema import DEPTH
from tests.flows.collector.test_books import delta, snapshot
from tests.flows.feed import SECOND, START, Feed, kal

MILLION = 10**6
levels = st.dictionaries(st.integers(1, 999).map(lambda mill: mill * 1_000), st.integers(1, 10**12), max_size=12)


def book(bids: dict[int, int], asks: dict[int, int], *, is_whole: bool = True) -> Book:
    made = Book(1)
    made.replace(bids.items(), asks.items())
    made.is_whole = is_whole
    return made


def model(bids: dict[int, int], asks: dict[int, int]) -> tuple[float | None, float | None] | None:
    """The same in decimals, as a person would count it."""
    buys = {Decimal(p) / MILLION: Decimal(n) / MILLION for p, n in bids.items()}
    sells = {Decimal(p) / MILLION: Decimal(n) / MILLION for p, n in asks.items()}
    if buys and sells and max(buys) >= min(sells):
        return None
    reach = Decimal("0.02")
    mid = (max(buys) + min(sells)) / 2 if buys and sells else None
    buy = [p * n for p, n in buys.items() if p >= (mid if mid is not None else max(buys)) - reach]
    sell = [(1 - p) * n for p, n in sells.items() if p <= (mid if mid is not None else min(sells)) + reach]
    return (float(sum(buy)) if buys else None), (float(sum(sell)) if sells else None)


def same(found, wanted) -> bool:
    """Alike to the cent."""
    if found is None or wanted is None:
        return found is wanted
    return all(a is b or (None not in (a, b) and abs(a - b) <= 0.0051) for a, b in zip(found, wanted, strict=True))


@given(levels, levels)
def test_dollars_near_the_mid(bids, asks):
    """Any book: the levels within 2 cents of the mid, edge included; None where it is crossed."""
    assert same(near(book(bids, asks)), model(bids, asks))


@given(levels, levels)
def test_other_direction_swaps_the_sides(bids, asks):
    """A market told in the direction of its second outcome has the same dollars on the other sides."""
    here = near(book(bids, asks))
    turned = near(book({MILLION - p: n for p, n in asks.items()}, {MILLION - p: n for p, n in bids.items()}))
    assert turned == (None if here is None else here[::-1])


def test_edges():
    """Two cents are near, a millionth more is not; wide books have 0 near, an empty side has None."""
    assert near(book({400_000: 10 * MILLION}, {440_000: 10 * MILLION})) == (4.0, 5.6)
    assert near(book({399_999: 10 * MILLION}, {440_000: 10 * MILLION})) == (0.0, 0.0)
    assert near(book({400_000: MILLION, 380_000: MILLION, 379_999: MILLION}, {})) == (0.78, None)
    assert near(book({}, {})) == (None, None)
    assert near(book({400_000: MILLION}, {}, is_whole=False)) is None


steps = st.lists(
    st.tuples(st.floats(0.1, 15), st.sampled_from("ABC"), st.integers(1, 40), st.integers(1, 9)), max_size=40
)


def of(name: str, message: dict) -> dict:
    """The message, as of another market on a subscription of its own."""
    return message | {"sid": ord(name), "msg": message["msg"] | {"market_ticker": name}}


@given(steps)
def test_sampled_while_it_changes(script):
    """A market's samples are ten seconds apart, each is the book of its instant, none repeats, the last is the book."""
    run, states = Feed(Wire.KALSHI_SOCKET, use_yes_price=False), {}

    def send(message: dict, step: float = 1.0) -> None:
        number = run._number
        run.send(message, step=step)
        books = {kal(name): run.pipeline._books.get(kal(name)) for name in "ABC"}
        states[frame_seq(7, number)] = run.now, {key: near(one) for key, one in books.items() if one is not None}

    for name in "ABC":
        send(of(name, snapshot()))
    numbers = dict.fromkeys("ABC", 1)
    for pause, name, cents, by in script:
        numbers[name] += 1
        send(of(name, delta(numbers[name], f"{cents / 100:.2f}", str(by))), pause)
    for _ in range(2 * EVERY):
        send({"type": "ticker", "sid": 9, "msg": {"market_ticker": "D", "ts_ms": 1_790_000_000_000}})
    for name in "ABC":
        rows = run.table(DEPTH).filter(market_key=kal(name)).sort("seq")
        told = rows.select("bid_2c_usd", "ask_2c_usd").rows()
        assert told == [states[seq][1][kal(name)] for seq in rows["seq"]]
        assert all(before != after for before, after in pairwise(told))
        taken = [states[seq][0] // SECOND for seq in rows["seq"]]
        assert all(after - before >= EVERY for before, after in pairwise(taken))
        assert rows["event_time"].is_sorted()
        assert told[-1] == near(run.pipeline._books.get(kal(name)))


def test_after_a_gap_it_is_said_again():
    """A book that was lost and came back as it was is told anew: what was told before held until the gap."""
    run = Feed(Wire.KALSHI_SOCKET, use_yes_price=False).opened().send(snapshot(), at=1)
    run.send(*[of("D", snapshot())] * 12)
    assert run.table(DEPTH).filter(market_key=kal("T")).height == 1
    run.opened(at=20).send(snapshot(), at=21).send(*[of("E", snapshot())] * 12)
    assert run.table(DEPTH).filter(market_key=kal("T")).height == 2


def test_a_clock_set_back_stops_nothing():
    """Samples go on after our clock was set back by an hour."""
    run = Feed(Wire.KALSHI_SOCKET, use_yes_price=False).send(snapshot(), at=4_000).send(*[of("D", snapshot())] * 11)
    run.send(delta(2, "0.41", "5"), at=400)
    for _ in range(11):
        run.pipeline.tick(run.now, frame_seq(7, run._number))
        run.send(of("E", snapshot()))
    assert run.table(DEPTH).filter(market_key=kal("T")).height == 2


@given(steps, st.integers(0, 60))
def test_restored_at_any_place_it_goes_on(script, cut):
    """A pipeline restored at any segment's end writes the rows that the one that went on writes."""
    numbers, now, items = dict.fromkeys("ABC", 1), START, []
    script = [(0.1, name, 0, 0) for name in "ABC"] + script
    for place, (pause, name, cents, by) in enumerate(script):
        numbers[name] += cents > 0
        now += round(pause * SECOND)
        what = delta(numbers[name], f"{cents / 100:.2f}", str(by)) if cents else snapshot()
        raw = msgspec.json.encode(of(name, what))
        items.append(Frame(frame_seq(1, 2 * place), "k", now, raw, Wire.KALSHI_SOCKET))
        items.append(Tick(seq=frame_seq(1, 2 * place + 1), received=now + SECOND // 20))
    cut = min(cut, len(items))
    end = Cut(seq=items[cut - 1].seq + 1 if cut else 0, received=now)

    def told(run: Pipeline, these: list) -> None:
        for item in these:
            run.take(item)

    whole: list = []
    first = Pipeline(adapters(), whole.append, rule=None)
    told(first, [*items[:cut], end])
    known, after = whole[-1].known, []
    second = Pipeline(adapters(), after.append, rule=None)
    second.restore(known)
    for run in (first, second):
        told(run, items[cut:])
        run.finish(now, frame_seq(2, 0))
    wanted, found = (
        [row for one in sealed for row in one.rows.get((DEPTH, "kalshi"), [])] for sealed in (whole[1:], after)
    )
    assert found == wanted

"""Books against an independent model: a plain dict of levels, read anew for every row."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from flows.venues.base import Outcome, Wire
from lake.schema import GAPS, QUOTES
from lake.vocab import Gap
from tests.flows.feed import MARKET, YES, Feed
from tests.flows.venues.test_polymarket import changed, level

CENT = Decimal("0.01")
SOCKET = Wire.KALSHI_SOCKET

sides = st.dictionaries(st.integers(1, 99), st.integers(1, 9), max_size=6)
steps = st.one_of(
    st.tuples(st.just("snapshot"), sides, sides),
    st.tuples(st.just("delta"), st.sampled_from(["yes", "no"]), st.integers(1, 99), st.integers(-9, 9).filter(bool)),
)


class Model:
    """The book as two dicts of cents to contracts, and the rows that it should make."""

    def __init__(self):
        self.levels = None
        self.rows = []

    def step(self, step):
        kind, *what = step
        if kind == "snapshot":
            self.levels = {"yes": dict(what[0]), "no": dict(what[1])}
        elif self.levels is not None:
            side, at, by = what
            size = self.levels[side].get(at, 0) + by
            self.levels[side][at] = size
            if size < 0:
                self.levels = None
        self.note()

    def top(self):
        bids = [at for at, size in self.levels["yes"].items() if size]
        asks = [100 - at for at, size in self.levels["no"].items() if size]
        bid, ask = max(bids, default=None), min(asks, default=None)
        return (
            None if bid is None else bid / 100,
            None if ask is None else ask / 100,
            None if bid is None else float(self.levels["yes"][bid]),
            None if ask is None else float(self.levels["no"][100 - ask]),
        )

    def note(self):
        if self.levels is None:
            self.rows.append("lost")
            return
        top = self.top()
        if top[0] is not None and top[1] is not None and top[0] >= top[1]:
            return
        kept = [row for row in self.rows if row != "lost"]
        if not kept or self.rows[-1] == "lost" or kept[-1] != top:
            self.rows.append(top)

    def quotes(self):
        return [row for row in self.rows if row != "lost"]


def frames(script, *, yes_scale):
    """The script as frames of either scale."""
    for seq, (kind, *what) in enumerate(script, 1):
        if kind == "snapshot":
            yes, no = what
            falls = [[str((100 - at) * CENT), str(n)] for at, n in sorted(no.items())]
            rises = [[str(at * CENT), str(n)] for at, n in sorted(no.items())]
            msg = {"yes_dollars_fp": [[str(at * CENT), str(n)] for at, n in sorted(yes.items())]}
            msg["no_dollars_fp"] = falls if yes_scale else rises
            yield {"type": "orderbook_snapshot", "sid": 2, "seq": seq, "msg": {"market_ticker": "T"} | msg}
        else:
            side, at, by = what
            price = str((100 - at if yes_scale and side == "no" else at) * CENT)
            msg = {"market_ticker": "T", "price_dollars": price, "delta_fp": str(by), "side": side}
            ts = {"ts_ms": 1_790_000_000_000 + seq}
            yield {"type": "orderbook_delta", "sid": 2, "seq": seq, "msg": msg | ts}


@given(st.lists(steps, max_size=25))
def test_books_equal_a_plain_model(script):
    """Random snapshots and deltas make the rows of a dict of levels, on both scales; no row is crossed or repeated."""
    model = Model()
    for step in script:
        model.step(step)
    default = Feed(SOCKET, use_yes_price=False).send(*frames(script, yes_scale=False), step=0.001)
    scaled = Feed(SOCKET, use_yes_price=True).send(*frames(script, yes_scale=True), step=0.001)
    assert default.tops(QUOTES) == scaled.tops(QUOTES) == model.quotes()


poly_steps = st.one_of(
    st.tuples(st.just("book"), sides, sides),
    st.tuples(st.just("change"), st.sampled_from(["BUY", "SELL"]), st.integers(1, 99), st.integers(0, 9)),
)


@given(st.lists(poly_steps, max_size=25))
def test_polymarket_books_equal_a_plain_model(script):
    """The same for books and changes of levels that carry no best prices, where a change names the new size."""
    levels, expected, run = None, [], Feed(Wire.POLYMARKET_SOCKET).named("polymarket/new_market")
    for number, (kind, *what) in enumerate(script):
        at = str(1_790_000_000_000 + number)
        if kind == "book":
            levels = {"BUY": dict(what[0]), "SELL": dict(what[1])}
            bids, asks = ([{"price": str(p * CENT), "size": str(n)} for p, n in side.items()] for side in what)
            frame = {"event_type": "book", "market": MARKET, "asset_id": YES, "timestamp": at, "hash": at}
            run.send(frame | {"bids": bids, "asks": asks}, step=0.001)
        else:
            side, price, size = what
            run.send(changed(level(str(price * CENT), str(size), side, hash=at), at=at), step=0.001)
            if levels is not None:
                levels[side][price] = size
        if levels is None:
            continue
        bids, asks = ({p: n for p, n in levels[side].items() if n} for side in ("BUY", "SELL"))
        bid, ask = max(bids, default=None), min(asks, default=None)
        if bid is None or ask is None or bid < ask:
            top = (bid and bid / 100, ask and ask / 100, bid and float(bids[bid]), ask and float(asks[ask]))
            expected += [top] if expected[-1:] != [top] else []
    assert run.tops(QUOTES) == expected


def snapshot(seq=1, yes=(("0.40", "10"),), no=(("0.55", "10"), ("0.58", "10"))):
    msg = {"market_ticker": "T", "yes_dollars_fp": list(yes), "no_dollars_fp": list(no)}
    return {"type": "orderbook_snapshot", "sid": 2, "seq": seq, "msg": msg}


def delta(seq, price, by, side="yes", ms=0):
    msg = {"market_ticker": "T", "price_dollars": price, "delta_fp": by, "side": side, "ts_ms": 1_790_000_000_000 + ms}
    return {"type": "orderbook_delta", "sid": 2, "seq": seq, "msg": msg}


def test_level_below_zero_is_damage():
    """A level that falls below 0 damages the book: no row of it, and a gap until the next snapshot's."""
    run = Feed(SOCKET).send(snapshot(), delta(2, "0.40", "-11", ms=2000), delta(3, "0.39", "5", ms=3000), step=1)
    assert run.tops(QUOTES) == [(0.40, 0.42, 10.0, 10.0)]
    assert run.rows(GAPS) == []
    run.send(snapshot(4), at=60)
    gap = run.rows(GAPS)[0]
    assert gap["reason"] == Gap.BOOK_DAMAGED
    assert (gap["start_time"].timestamp(), gap["end_time"].timestamp()) == (1_790_000_002, 1_790_000_060)
    assert run.tops(QUOTES)[1:] == [(0.40, 0.42, 10.0, 10.0)]


def test_deltas_on_a_damaged_book_are_counted():
    """Until the next snapshot the damaged book's deltas are ignored by kind."""
    run = Feed(SOCKET).send(snapshot(), delta(2, "0.40", "-11"), delta(3, "0.39", "5")).finish()
    assert run.pipeline.counts.ignored == {"change:no_book": 1}
    assert run.pipeline.counts.outcomes[Outcome.APPLIED] == 2


def test_crossed_for_an_instant():
    """Levels that overlap while one match is told make no row; the row comes when they no longer do."""
    run = Feed(SOCKET).send(snapshot(), delta(2, "0.43", "5", ms=10), delta(3, "0.58", "-10", "no", ms=10), step=0.001)
    assert run.tops(QUOTES) == [(0.40, 0.42, 10.0, 10.0), (0.43, 0.45, 5.0, 10.0)]
    assert run.rows(GAPS) == []


def test_crossed_for_long():
    """A book that stays crossed for over a second is damaged from the instant that it crossed."""
    run = Feed(SOCKET).send(snapshot(), at=1).send(delta(2, "0.43", "5", ms=1500), at=1.5)
    run.send(delta(3, "0.39", "5", ms=3000), at=3).send(snapshot(4), at=10)
    gap = run.rows(GAPS)[0]
    assert (gap["reason"], gap["start_time"].timestamp()) == (Gap.BOOK_DAMAGED, 1_790_000_001.5)
    assert gap["end_time"].timestamp() == 1_790_000_010
    assert len(run.tops(QUOTES)) == 2


def test_crossed_and_then_silent():
    """A book whose last word left it crossed is not shown as it was before, whatever other markets say."""
    run = Feed(SOCKET).send(snapshot(), at=1).send(delta(2, "0.43", "5", ms=1500), at=1.5)
    run.send(b'{"type":"ok","sid":1,"seq":3}', at=60).finish()
    [gap] = run.rows(GAPS)
    assert (gap["reason"], gap["start_time"].timestamp(), gap["end_time"]) == (Gap.BOOK_DAMAGED, 1_790_000_001.5, None)


def test_rows_of_a_market_never_go_back():
    """A change that the venue dates before our receipt of the snapshot stands after it."""
    run = Feed(SOCKET).send(snapshot(), at=5).send(delta(2, "0.41", "5", ms=4000), at=5.1)
    assert run.table(QUOTES).sort("market_key", "event_time", "seq")["bid"].to_list() == [0.40, 0.41]


def test_locked_book_is_crossed():
    """A bid at the ask is no quote."""
    run = Feed(SOCKET).send(snapshot(), delta(2, "0.42", "5", ms=10), step=0.001)
    assert len(run.tops(QUOTES)) == 1


def test_size_at_the_top_is_a_change():
    """A new size at an unchanged price is a row; a level behind the top is none."""
    run = Feed(SOCKET).send(snapshot(), delta(2, "0.40", "1"), delta(3, "0.39", "1"))
    assert run.tops(QUOTES)[1:] == [(0.40, 0.42, 11.0, 10.0)]

"""The simulated world: one function of seed and time, whichever way it is asked."""

import json
import statistics
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.simulator.base import Kind, LabelKind
from flows.simulator.world import SimulatedWorld
from lake.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from lake.vocab import Venue
from tests.strategies import examples

START = 1_795_392_000 * SECOND_US  # 2026-11-22 16:00 UTC
ONE = 1_000_000


def world(seed=7, markets=150, rate=120.0):
    return SimulatedWorld(seed, markets, rate)


SMALL = world()
TINY = world(markets=60, rate=40.0)


def every(world, at):
    return [market for venue in Venue for market in world.markets(venue, at)]


def mid(book):
    return (book.bids[0][0] + book.asks[0][0]) / 2 if book.bids and book.asks else None


def spread_of(book):
    return book.asks[0][0] - book.bids[0][0] if book.bids and book.asks else ONE


def applied(book, happenings):
    """The levels of a book after the changes, by side and price."""
    sides = {True: dict(book.bids), False: dict(book.asks)}
    for one in happenings:
        for is_bid, price, size in one.levels:
            sides[is_bid][price] = size
            if size == 0:
                del sides[is_bid][price]
    return sides


def test_same_seed_same_world():
    """Two worlds of one seed agree on everything, in whatever order they are asked; another seed differs."""
    one, other = world(), world()
    at = START + 30 * SECOND_US
    late = list(other.happenings(at, at + 5 * SECOND_US))
    books = [other.book(market, at) for market in reversed(every(other, at))]
    assert [one.book(market, at) for market in every(one, at)] == books[::-1]
    assert list(one.happenings(START, at))
    assert list(one.happenings(at, at + 5 * SECOND_US)) == late
    assert every(one, at) == every(other, at) != every(world(seed=8), at)


def test_any_cut_of_time_tells_the_same():
    """Happenings of an interval are those of its parts, in order of time, each once and after the start."""
    whole = list(SMALL.happenings(START, START + 20 * SECOND_US))
    edges = [START, START + 1, START + 3_333_333, START + 4 * SECOND_US, START + 19_999_999, START + 20 * SECOND_US]
    parts = [one for a, b in pairwise(edges) for one in world().happenings(a, b)]
    assert parts == whole
    assert [one.time for one in whole] == sorted(one.time for one in whole)
    assert all(START < one.time <= START + 20 * SECOND_US for one in whole)


@examples(6)
@given(st.integers(0, 400), st.integers(1, 40), st.integers(0, 10**6))
def test_happenings_make_the_book(skip, seconds, fraction):
    """The book of any instant is that of an earlier one with the changes between them; the same for its last trade."""
    start = START + 47 * MINUTE_US + skip * SECOND_US + fraction
    end = start + seconds * SECOND_US - fraction // 2
    changes, trades = defaultdict(list), {}
    asked, other = world(markets=60, rate=40.0), TINY
    for one in asked.happenings(start, end):
        changes[one.market.native_id].append(one)
        if one.kind is Kind.TRADE:
            trades[one.market.native_id] = one.price
    assert changes
    for market in {market.native_id: market for at in (start, end) for market in every(asked, at)}.values():
        before, after = other.book(market, start), other.book(market, end)
        assert applied(before, changes[market.native_id]) == {True: dict(after.bids), False: dict(after.asks)}
        assert after.last_trade == trades.get(market.native_id, before.last_trade)


def test_happenings_carry_their_books():
    """A book in a happening is the book of that instant; a trade's is the one that it met at the touch."""
    count = Counter()
    last = {}
    for one in SMALL.happenings(START, START + 40 * SECOND_US):
        count[one.kind] += 1
        if one.kind is Kind.BOOK:
            assert one.levels
            now = SMALL.book(one.market, one.time)
            assert (one.book.bids, one.book.asks, one.book.last_trade) == (now.bids, now.asks, now.last_trade)
        if one.kind is Kind.TRADE:
            touch = one.book.asks if one.is_buy else one.book.bids
            assert one.price == touch[0][0]
            assert one.size > 0 and one.size % 10_000 == 0
        if one.book is not None:
            last[one.market.native_id] = one.book
    assert count[Kind.TRADE] > 15 and count[Kind.BOOK] > 1_000


def test_books_are_books():
    """Best first, on the grid, inside (0, 1), never crossed nor locked; two decimals; some one-sided, some empty."""
    kinds = Counter()
    for at in range(START, START + HOUR_US, 7 * MINUTE_US + 13):
        for market in every(SMALL, at):
            book = SMALL.book(market, at)
            bids, asks = ([price for price, _ in side] for side in (book.bids, book.asks))
            assert bids == sorted(set(bids), reverse=True) and asks == sorted(set(asks))
            assert all(0 < price < ONE and price % market.tick == 0 for price in bids + asks)
            assert all(size > 0 and size % 10_000 == 0 for _, size in book.bids + book.asks)
            assert not (bids and asks) or bids[0] < asks[0]
            assert book.changed <= at
            kinds[bool(bids), bool(asks)] += 1
            kinds["ticks", market.tick] += 1
    assert kinds[True, True] > 10 * kinds[False, False] > 0
    assert kinds[True, False] > 0 and kinds[False, True] > 0
    assert kinds["ticks", 1_000] > 0 and kinds["ticks", 10_000] > 0


def test_trades_are_those_that_happen():
    """The trades of a market are those among the happenings, of the same ids, in the same order."""
    end = START + 3 * MINUTE_US
    told = defaultdict(list)
    for one in SMALL.happenings(START, end):
        if one.kind is Kind.TRADE:
            told[one.market.native_id].append(one)
    for market in every(SMALL, START):
        assert list(SMALL.trades(market, START, end)) == told[market.native_id]
    ids = [one.trade_id for each in told.values() for one in each]
    assert len(ids) == len(set(ids)) > 50


def test_life_of_a_market():
    """A market is listed, opens its book, closes, loses its book, is determined and gone, in that order and on time."""
    market = next(m for m in every(SMALL, START) if m.close - m.listed == 5 * MINUTE_US and m.listed == START)
    times = (market.listed, market.close, market.determined, market.gone)
    told = [one for time in times for one in SMALL.happenings(time - 1, time) if one.market == market]
    kinds = [one.kind for one in told]
    assert kinds == [Kind.LISTED, Kind.BOOK, Kind.CLOSED, Kind.BOOK, Kind.DETERMINED, Kind.GONE]
    full = tuple((True, *level) for level in told[1].book.bids) + tuple((False, *level) for level in told[1].book.asks)
    assert set(told[1].levels) == set(full) != set()
    assert 20 * SECOND_US <= market.determined - market.close <= 3 * MINUTE_US
    assert SMALL.book(market, market.listed - 1).bids == SMALL.book(market, market.determined).bids == ()
    assert SMALL.book(market, market.close - 1) == SMALL.book(market, market.determined - 1)
    assert market not in SMALL.markets(market.venue, market.listed - 1)
    assert market in SMALL.markets(market.venue, market.listed)
    assert market in SMALL.markets(market.venue, market.gone - 1)
    assert market not in SMALL.markets(market.venue, market.gone)
    assert market in SMALL.past(market.venue, market.gone)
    assert market not in SMALL.past(market.venue, market.determined - 1)
    assert SMALL.market(market.venue, market.native_id, market.listed - 1) is None
    assert SMALL.market(market.venue, market.native_id, market.gone + HOUR_US) == market
    assert SMALL.market(market.venue, market.native_id, market.gone + 2 * DAY_US) is None


def test_a_new_market_has_a_book_of_its_own():
    """Where one market of a family closes and the next is listed, each has its book, whichever is asked first."""
    found = [m for m in SMALL.markets(Venue.POLYMARKET, START) if START in (m.close, m.listed)]
    asked = world()
    last = {m.native_id: asked.book(m, START - 1) for m in found if m.close == START}
    first = {m.native_id: asked.book(m, START) for m in found if m.listed == START}
    assert last and first
    assert all(SMALL.book(m, m.close) == last[m.native_id] for m in found if m.close == START)
    assert all(book.changed == START and book.last_trade is None for book in first.values())


def test_trades_take_from_the_book():
    """What a trade takes is gone from its level in the change that follows at the same time."""
    touched, last = Counter(), None
    for one in SMALL.happenings(START, START + 40 * SECOND_US):
        if one.kind is Kind.TRADE:
            last = one
        elif last is not None and (one.kind, one.time, one.market) == (Kind.BOOK, last.time, last.market):
            met, left = (dict(b.asks if last.is_buy else b.bids).get(last.price, 0) for b in (last.book, one.book))
            touched[left < met] += 1
            last = None
    assert touched[True] > 0.8 * touched.total() > 5


def test_nothing_happens_out_of_life():
    """Books and trades come only of markets that trade, but for the emptying of a determined one's book."""
    edge = START + 5 * MINUTE_US
    for one in SMALL.happenings(edge - 2 * SECOND_US, edge + 60 * SECOND_US):
        if one.kind in (Kind.BOOK, Kind.TRADE):
            is_emptied = one.time == one.market.determined and one.book.bids == one.book.asks == ()
            assert is_emptied or one.market.listed <= one.time < one.market.close


def test_names_are_unique():
    """Ids, numbers, slugs and tokens name one market each, over all that were there within a day."""
    for venue in Venue:
        found = {*SMALL.markets(venue, START), *SMALL.past(venue, START)}
        for name in ("native_id", "number", "slug"):
            assert len({getattr(market, name) for market in found}) == len(found), name
        assert all(SMALL.market(venue, market.native_id, START) == market for market in found)
        assert SMALL.market(venue, "0x" + "ab" * 32, START) is None
        assert SMALL.market(venue, "KXNONE-26NOV230300-X0", START) is None
        assert SMALL.market(venue, "x", START) is None
    tokens = [token for market in SMALL.markets(Venue.POLYMARKET, START) for token in market.tokens]
    assert len(tokens) == len(set(tokens)) and all(token.isdigit() and len(token) <= 78 for token in tokens)


BIG = world(markets=3_000, rate=500.0)


def test_universe_is_varied():
    """Ten categories on both venues, a hundred matched questions, events of 1 to 12 markets; the number asked for."""
    for venue in Venue:
        markets = BIG.markets(venue, START)
        assert len({market.event.category for market in markets}) == 10
        assert all(market.event.category in market.event.tags for market in markets)
        sizes = Counter(market.event.native_id for market in markets)
        assert {1, 12} <= set(sizes.values()) and max(sizes.values()) == 12
    open_ = [market for market in every(BIG, START) if market.close > START]
    assert len(open_) == 3_000
    twins = [market for market in BIG.markets(Venue.KALSHI, START) if market.twin]
    assert len(twins) >= 100
    for market in twins:
        other = BIG.market(Venue.POLYMARKET, market.twin, START)
        assert other.twin == market.native_id and other.winner == market.winner


def test_titles():
    """Most titles are plain and differ; one or two in a hundred are hostile; all of them are valid JSON and UTF-8."""
    titles = [market.title for market in every(BIG, START)]
    assert len(set(titles)) > 0.95 * len(titles)
    marks = ("<script", "\u202e", "\u200b", "{{", "[red]", "DROP TABLE", "=HYPER", "$x^2$", "![", "\n", "\u200d")
    hostile = [title for title in titles if any(mark in title for mark in marks)]
    assert 0.005 < len(hostile) / len(titles) < 0.02
    assert all(json.loads(json.dumps(title).encode()) == title for title in titles)
    assert any(len(title) > 1_000 for title in titles)


def test_rate():
    """Five hundred messages a second, more or less, at the usual time of day."""
    messages, tops = 0.0, {}
    for one in BIG.happenings(START, START + MINUTE_US):
        if one.kind is Kind.TRADE:
            messages += 1.5
        elif one.kind is Kind.BOOK and one.market.venue is Venue.KALSHI:
            messages += len(one.levels)
        elif one.kind is Kind.BOOK:
            top = one.book.bids[:1], one.book.asks[:1]
            prices = [side[0][0] if side else None for side in top]
            messages += 1 if tops.get(one.market.native_id) == prices else 3
            tops[one.market.native_id] = prices
    assert 350 < messages / 60 < 650


def test_twins_track_each_other():
    """A matched question costs about the same on both venues."""
    gaps = []
    for market in BIG.markets(Venue.KALSHI, START):
        if market.twin and market.close - HOUR_US > START:
            other = BIG.market(Venue.POLYMARKET, market.twin, START)
            mids = mid(BIG.book(market, START)), mid(BIG.book(other, START))
            spread = spread_of(BIG.book(market, START)) + spread_of(BIG.book(other, START))
            if None not in mids and spread < 80_000:
                gaps.append(abs(mids[0] - mids[1]) / ONE)
    assert len(gaps) > 50
    assert statistics.median(gaps) < 0.015 and max(gaps) < 0.08


def test_exclusive_events_sum_to_one():
    """The mids of an event with one winner sum to about one, and it has one winner."""
    events = defaultdict(list)
    for market in every(BIG, START):
        if market.event.is_exclusive:
            events[market.event.venue, market.event.native_id].append(market)
    sums = []
    for markets in events.values():
        assert [market.winner for market in markets].count(0) == 1
        books = [BIG.book(market, START) for market in markets]
        if all(book.bids and book.asks and book.asks[0][0] - book.bids[0][0] <= 30_000 for book in books):
            sums.append(sum(mid(book) for book in books) / ONE)
    assert len(sums) > 10
    assert statistics.median(sums) == pytest.approx(1.0, abs=0.04)
    assert all(0.93 < total < 1.1 for total in sums)


def test_candles_agree_with_books():
    """A minute closes at the mid of the book in force at its end, within a tick, and its trades are those told."""
    markets = [market for market in every(SMALL, START) if market.listed < START - HOUR_US][:80:4]
    start = START - 20 * MINUTE_US
    seen = 0
    for market, candles in zip(markets, SMALL.candles(markets, start, START), strict=True):
        trades = defaultdict(list)
        for one in SMALL.trades(market, start - 1, START - 1):
            trades[one.time // MINUTE_US * MINUTE_US].append(one)
        for row, minute in enumerate(candles.start.tolist()):
            seen += 1
            book = SMALL.book(market, minute + MINUTE_US - 1)
            assert candles.mid[row, 3] == pytest.approx(mid(book), abs=1)
            assert (candles.bid[row, 3], candles.ask[row, 3]) == (book.bids[0][0], book.asks[0][0])
            assert candles.mid[row, 0] == pytest.approx(mid(SMALL.book(market, minute)), abs=1)
            assert candles.mid[row, 2] <= candles.mid[row, 0] <= candles.mid[row, 1]
            mine = [one.price for one in trades[minute]]
            expected = [mine[0], max(mine), min(mine), mine[-1]] if mine else [-1] * 4
            assert candles.price[row].tolist() == expected
            assert candles.volume[row] == sum(one.size for one in trades[minute])
    assert seen > 250


def test_figures():
    """Volumes never fall, are heavy-tailed over markets, and are about what trades; a day ago is a mid of then."""
    markets = [market for market in every(BIG, START) if market.listed < START - 2 * DAY_US]
    now, later = ([BIG.figures(market, at) for market in markets] for at in (START, START + HOUR_US))
    assert all(a.volume <= b.volume and a.volume_usd <= b.volume_usd for a, b in zip(now, later, strict=True))
    assert all(0 < one.volume_24h <= one.volume for one in now)
    volumes = sorted((one.volume_24h for one in now), reverse=True)
    assert sum(volumes[: len(volumes) // 20]) > 0.3 * sum(volumes)
    busy = max(markets, key=lambda market: BIG.figures(market, START).volume_24h)
    traded = sum(one.size for one in BIG.trades(busy, START - DAY_US, START))
    assert 0.3 < traded / BIG.figures(busy, START).volume_24h < 4
    ago = BIG.figures(busy, START).day_ago
    assert ago == pytest.approx(mid(BIG.book(busy, START - DAY_US)), abs=1)


def test_labels_show_in_mids():
    """A labelled jump moves its market's mid that way within seconds, and there are one to four a minute."""
    span = 20 * MINUTE_US
    labels = BIG.labels(START, START + span)
    jumps = [label for label in labels if label.kind is LabelKind.JUMP]
    assert {label.kind for label in labels} == set(LabelKind)
    assert all(START < label.start <= START + span for label in labels)
    right = clear = 0
    for label in jumps:
        market = BIG.market(label.venue, label.native_id, label.start)
        assert market.listed <= label.start < market.close
        before, after = mid(BIG.book(market, label.start - 1)), mid(BIG.book(market, label.end + 45 * SECOND_US))
        if before is None or after is None or label.end + MINUTE_US > market.close:
            continue
        clear += abs(after - before) >= 50_000
        right += (after - before) * label.size > 0
    assert 20 <= clear <= 80
    assert right > 0.8 * len(jumps) * 0.9


def test_some_jumps_are_taken_back():
    """Of the clear jumps some hold and some are back within a quarter of an hour."""
    held = []
    for label in BIG.labels(START, START + 20 * MINUTE_US):
        market = BIG.market(label.venue, label.native_id, label.start)
        if label.kind is LabelKind.JUMP and market.close > label.start + 3 * DAY_US:
            times = (label.start - 1, label.end + 90 * SECOND_US, label.end + 20 * MINUTE_US)
            mids = [mid(BIG.book(market, at)) for at in times]
            if None not in mids and abs(mids[1] - mids[0]) > 40_000:
                held.append((mids[2] - mids[0]) / (mids[1] - mids[0]))
    assert any(share > 0.8 for share in held) and any(share < 0.3 for share in held)

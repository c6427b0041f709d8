"""A world of a dozen markets that fits on a page: every book, trade and step of life is drawn once, in advance."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np

from flows.simulator.base import Book, Candles, Event, Figures, Happening, Kind, Label, LabelKind, Market
from flows.simulator.wire import hex_of, uuid_of
from lake.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from lake.vocab import Venue

START = 1_790_000_040_000_000  # a full minute
END = START + 3 * MINUTE_US
CENT = 10_000
EACH = 6  # markets a venue
LATE = 5  # the number of the one that is listed later, within EACH
SHORT = 4  # the one that ends soon
HOSTILE = '<script>alert("x")</script> $x$ \u202e[red]=1+1'


def event(venue: Venue, number: int) -> Event:
    is_poly = venue is Venue.POLYMARKET
    return Event(
        venue=venue,
        native_id=str(900 + number) if is_poly else f"KXTINY-{number}",
        series="tiny-series" if is_poly else "KXTINY",
        slug=f"tiny-event-{number}",
        title=f"Tiny event {number}",
        category="Economics",
        tags=("Economics", "Rates"),
        is_exclusive=number == 0,
        listed=START - 2 * DAY_US,
        close=START + DAY_US,
    )


def market(venue: Venue, number: int) -> Market:
    is_poly = venue is Venue.POLYMARKET
    short, late = number == SHORT, number == LATE
    close = START + 60 * SECOND_US if short else START + DAY_US
    return Market(
        venue=venue,
        native_id=hex_of("tiny", str(number)) if is_poly else f"KXTINY-{number // 2}-{number}",
        number=number + 1,
        tokens=(str(7 * 10**76 + number), str(8 * 10**76 + number)) if is_poly else ("", ""),
        event=event(venue, number // 2),
        title=HOSTILE if number == 0 else f"Will it be {number}?",
        label=f"Label {number}",
        outcomes=("Up", "Down") if is_poly and number == 1 else ("Yes", "No"),
        slug=f"tiny-{number}",
        tick=CENT,
        listed=START + 30 * SECOND_US if late else START - 2 * DAY_US,
        close=close,
        determined=close + 30 * SECOND_US,
        gone=close + 60 * SECOND_US,
        winner=number % 2,
        twin=None,
    )


@cache
def tiny_world(seed: int = 1) -> "TinyWorld":
    """The world of that seed; nothing in it changes, so tests share it."""
    return TinyWorld(seed)


class TinyWorld:
    """`flows.simulator.base.World` for the three minutes from `START`; the two days before it stand still."""

    def __init__(self, seed: int = 1) -> None:
        self.all = [market(venue, number) for venue in Venue for number in range(EACH)]
        self._books: dict[str, list[tuple[int, Book]]] = {}
        told: list[Happening] = []
        for each in self.all:
            told += self._life_of(each, Random(f"{seed}/{each.venue}/{each.number}"))
        self._told = sorted(told, key=lambda happening: happening.time)
        self._times = [happening.time for happening in self._told]

    def _life_of(self, each: Market, rng: Random) -> list[Happening]:
        middle = rng.randrange(30, 70)
        book = Book(
            tuple(((middle - step) * CENT, rng.randrange(1, 400) * 250_000) for step in range(1, 6)),
            tuple(((middle + step) * CENT, rng.randrange(1, 400) * 250_000) for step in range(1, 6)),
            max(each.listed, START - HOUR_US),
            None,
        )
        books = self._books[each.native_id] = [(each.listed, book)]
        steps = [(each.listed, Kind.LISTED), (each.close, Kind.CLOSED), (each.determined, Kind.DETERMINED)]
        told = [Happening(time, kind, each) for time, kind in [*steps, (each.gone, Kind.GONE)] if time > START]
        time = max(START, each.listed)
        while (time := time + rng.randrange(SECOND_US)) < min(END, each.close):
            if rng.random() < 0.3 and book.bids and book.asks:
                book, happenings = self._trade(each, book, time, rng)
            else:
                book, happenings = self._move(each, book, time, rng)
            told += happenings
            books.append((time, book))
        books.append((each.determined, Book((), (), each.determined, book.last_trade)))
        return told

    def _trade(self, each: Market, book: Book, time: int, rng: Random) -> tuple[Book, list[Happening]]:
        is_buy = rng.random() < 0.5
        (price, there), *_ = book.asks if is_buy else book.bids
        size = there if rng.random() < 0.3 else min(there, 250_000)
        book = replace(book, last_trade=price)
        name = uuid_of(each.native_id, str(time))
        traded = Happening(time, Kind.TRADE, each, book, (), price, size, is_buy, name)
        level = (not is_buy, price, there - size)
        book = self._with(book, level, time)
        return book, [traded, Happening(time, Kind.BOOK, each, book, (level,))]

    def _move(self, each: Market, book: Book, time: int, rng: Random) -> tuple[Book, list[Happening]]:
        """A level or two anew; at times a whole side away and back."""
        bid, ask = book.bids[0][0] if book.bids else 0, book.asks[0][0] if book.asks else 100 * CENT
        levels = []
        for is_bid in {rng.random() < 0.5, rng.random() < 0.5}:
            inner = (bid + CENT if bid + CENT < ask else bid) if is_bid else (ask - CENT if ask - CENT > bid else ask)
            price = inner if 0 < inner < 100 * CENT else 50 * CENT
            levels.append((is_bid, price, rng.randrange(0, 400) * 250_000))
            if rng.random() < 0.2:
                levels += [(is_bid, price, 0) for price, _ in (book.bids if is_bid else book.asks)]
            break
        unique = {(is_bid, price): size for is_bid, price, size in levels}
        told = tuple((is_bid, price, size) for (is_bid, price), size in unique.items())
        for level in told:
            book = self._with(book, level, time)
        return book, [Happening(time, Kind.BOOK, each, book, told)]

    @staticmethod
    def _with(book: Book, level: tuple[bool, int, int], time: int) -> Book:
        is_bid, price, size = level
        side = dict(book.bids if is_bid else book.asks)
        side[price] = size
        levels = tuple(sorted(((p, s) for p, s in side.items() if s), reverse=is_bid))
        return replace(book, changed=time, **{"bids" if is_bid else "asks": levels})

    # --- the contract ----------------------------------------------------------------------------

    def markets(self, venue: Venue, at: int) -> Sequence[Market]:
        return [each for each in self.all if each.venue is venue and each.listed <= at < each.gone]

    def market(self, venue: Venue, native_id: str, at: int) -> Market | None:
        found = (each for each in self.all if each.venue is venue and each.native_id == native_id and each.listed <= at)
        return next(found, None)

    def past(self, venue: Venue, at: int) -> Sequence[Market]:
        return [each for each in self.all if each.venue is venue and at - DAY_US < each.determined <= at]

    def book(self, market: Market, at: int) -> Book:
        books = self._books[market.native_id]
        return books[bisect_right(books, at, key=lambda pair: pair[0]) - 1][1]

    def prepare(self, markets: Sequence[Market], at: int) -> None:
        pass

    def happenings(self, start: int, end: int) -> Iterator[Happening]:
        return iter(self._told[bisect_right(self._times, start) : bisect_right(self._times, end)])

    def trades(self, market: Market, start: int, end: int) -> Sequence[Happening]:
        return [each for each in self.happenings(start, end) if each.kind is Kind.TRADE and each.market is market]

    def candles(self, markets: Sequence[Market], start: int, end: int) -> Sequence[Candles]:
        starts = np.arange(-(-start // MINUTE_US) * MINUTE_US, end, MINUTE_US, dtype=np.int64)
        return [self._candles(each, starts[(starts >= each.listed) & (starts < each.close)]) for each in markets]

    def _candles(self, each: Market, starts: np.ndarray) -> Candles:
        books = [self.book(each, int(start)) for start in starts]
        bids = np.array([[book.bids[0][0] if book.bids else -1] * 4 for book in books], dtype=np.int64).reshape(-1, 4)
        asks = np.array([[book.asks[0][0] if book.asks else -1] * 4 for book in books], dtype=np.int64).reshape(-1, 4)
        paid, volume = np.full_like(bids, -1), np.zeros(len(starts), dtype=np.int64)
        for row, start in enumerate(starts):
            trades = self.trades(each, int(start), int(start) + MINUTE_US)
            if trades:
                prices = [trade.price for trade in trades]
                paid[row] = [prices[0], max(prices), min(prices), prices[-1]]
                volume[row] = sum(trade.size for trade in trades)
        return Candles(starts, (bids + asks) // 2, bids, asks, paid, volume)

    def figures(self, market: Market, at: int) -> Figures:
        size = (market.number * 1_000 + (at - START) // SECOND_US) * 1_000_000
        return Figures(size, size // 2, size // 4, size // 2, size // 3, size // 5, 500_000)

    def labels(self, start: int, end: int) -> Sequence[Label]:
        every = 10 * SECOND_US
        times = range(-(-(start + 1) // every) * every, end + 1, every)
        first = self.all[0]
        return [Label(LabelKind.JUMP, first.venue, first.native_id, time, time + every, 0.5) for time in times]

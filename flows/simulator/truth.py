"""The truth: what a right client must have stored, whatever faults there are.

Books and trades follow from the world, which is a function of its seed and of time; only what clients asked for and
which faults there were is noted. So any window can be asked for at any time, at the price of making it anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from flows.simulator.base import Book, Happening, Kind, Market, World
from flows.simulator.faults import Fault
from flows.simulator.polymarket_frames import printed_trade
from flows.simulator.watched import Watched
from lake.vocab import Venue, market_id, market_key

BOOKS: Final = {Venue.POLYMARKET: "market", Venue.KALSHI: "orderbook_delta"}
TRADES: Final = {Venue.POLYMARKET: "market", Venue.KALSHI: "trade"}
"""The channel on which a venue tells books, and trades."""

_Top = tuple[int | None, int | None, int | None, int | None]
_MS: Final = 1_000
_VOID: Final = Book((), (), 0, None)


@dataclass(frozen=True, slots=True)
class Top:
    """The top of a book from `time` on: prices and sizes in 1e-6, None = an empty side.

    `time` is the venue's as it tells it, cut to milliseconds; what happens within one of them is one change.
    """

    market: Market
    time: int
    bid: int | None
    ask: int | None
    bid_size: int | None
    ask_size: int | None
    is_change: bool  # False: it only stood so as the window began, or nobody had asked for the market


@dataclass(frozen=True, slots=True)
class Trade:
    """An execution of the first outcome, with the id that the adapter must give it."""

    market: Market
    time: int
    trade_id: str
    price: int
    size: int
    is_buy: bool


@dataclass(frozen=True, slots=True)
class Life:
    """A turn of a market's life; `result` is the winning outcome's name from `DETERMINED` on."""

    market: Market
    time: int
    kind: Kind
    result: str | None


class Truth:
    """What happened to what clients asked for, and the faults there were."""

    def __init__(self, world: World, start: int, note: Callable[[dict[str, Any]], None] = lambda line: None) -> None:
        self.world, self.start = world, start
        self._note = note
        self.watched = {venue: Watched(start, self._of(venue)) for venue in Venue}
        self._faults: dict[tuple[str, int], dict[str, Any]] = {}
        self._before: list[dict[str, Any]] = []  # faults of runs before this one

    def fault(self, fault: Fault) -> None:
        """A fault began or ended."""
        self.read({"line": "fault", **fault.window()})
        self._note({"line": "fault", **fault.window()})

    def read(self, line: dict[str, Any]) -> None:
        """Take a line that was noted."""
        match line["line"]:
            case "run":
                self._restart(line["start"])
            case "fault":
                self._faults[line["venue"], line["number"]] = line
            case _:
                self.watched[Venue(line["venue"])].read(line)

    def faults(self) -> list[dict[str, Any]]:
        """Each fault: `faults.Fault.window`, in the order in which they began."""
        return sorted([*self._before, *self._faults.values()], key=lambda window: window["start"])

    def tops(self, venue: Venue, start: int, end: int) -> Iterator[Top]:
        """Tops of books in start < time <= end, in order of time; first how all books stood at `start`."""
        last: dict[str, _Top] = {}
        for market in self.world.markets(venue, start):
            top = _top(self.world.book(market, start))
            last[market.native_id] = top
            yield Top(market, start, *top, is_change=False)
        waiting: dict[str, tuple[Happening, _Top]] = {}
        now = start // _MS
        for each in self._happenings(venue, start, end):
            book = _VOID if each.kind is Kind.DETERMINED else each.book
            if each.kind is Kind.TRADE or book is None:
                continue
            if each.time // _MS != now:
                yield from self._changes(venue, waiting, last)
                now = each.time // _MS
            waiting[each.market.native_id] = each, _top(book)
        yield from self._changes(venue, waiting, last)

    def trades(self, venue: Venue, start: int, end: int) -> Iterator[Trade]:
        """Trades of what clients asked for in start < time <= end, in order of time."""
        watched = self.watched[venue]
        for each in self._happenings(venue, start, end):
            if each.kind is Kind.TRADE and watched.wants(TRADES[venue], each.market.native_id, each.time):
                time = self._told(venue, each.time)
                yield Trade(each.market, time, trade_id(each), each.price, each.size, each.is_buy)

    def lives(self, venue: Venue, start: int, end: int) -> Iterator[Life]:
        """Listings, closes, results and ends of all markets in start < time <= end, in order of time."""
        for each in self._happenings(venue, start, end):
            if each.kind not in (Kind.BOOK, Kind.TRADE):
                is_known = each.kind in (Kind.DETERMINED, Kind.GONE)
                yield Life(each.market, each.time, each.kind, result(each.market) if is_known else None)

    def _restart(self, at: int) -> None:
        """The venues began anew: no connection and no fault outlives that."""
        for watched in self.watched.values():
            watched.restart(at)
        self._before += [fault | {"end": fault["end"] or at} for fault in self._faults.values()]
        self._faults = {}

    def _happenings(self, venue: Venue, start: int, end: int) -> Iterator[Happening]:
        return (each for each in self.world.happenings(start, end) if each.market.venue is venue)

    def _changes(
        self,
        venue: Venue,
        waiting: dict[str, tuple[Happening, _Top]],
        last: dict[str, _Top],
    ) -> Iterator[Top]:
        for name, (each, top) in waiting.items():
            if last.get(name) != top:
                last[name] = top
                is_wanted = self.watched[venue].wants(BOOKS[venue], name, each.time)
                yield Top(each.market, self._told(venue, each.time), *top, is_change=is_wanted)
        waiting.clear()

    def _told(self, venue: Venue, time: int) -> int:
        """The time as the venue tells it: in milliseconds, by a clock that may be off."""
        for fault in self.faults() if self._faults or self._before else ():
            is_then = fault["start"] < time and (fault["end"] is None or time < fault["end"])
            if fault["kind"] == "clock" and fault["venue"] == venue.value and is_then:
                time += round(fault["value"] * 1_000_000)
        return time // _MS * _MS

    def _of(self, venue: Venue) -> Callable[[dict[str, Any]], None]:
        return lambda line: self._note(line | {"venue": venue.value})


def trade_id(trade: Happening) -> str:
    """The id that the adapter gives a trade."""
    if trade.market.venue is Venue.KALSHI:
        return trade.trade_id
    printed = printed_trade(trade)
    return f"{printed['hash']}-{printed['token'][-6:]}-1"


def result(market: Market) -> str:
    """The winner as `markets.result` has it."""
    return market.outcomes[market.winner]


def key_of(market: Market) -> int:
    """Its `market_key`."""
    return market_key(market_id(market.venue, market.native_id))


def _top(book: Book) -> _Top:
    bid, ask = book.bids[0] if book.bids else (None, None), book.asks[0] if book.asks else (None, None)
    return bid[0], ask[0], bid[1], ask[1]

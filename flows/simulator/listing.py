"""Which markets a simulated venue knows now, by every name that a request may use, and their books.

Lists are kept in order, so that a page of a catalogue costs its own length and not that of the catalogue.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from flows.simulator.base import Book, Event, Figures, Happening, Kind, Market, World
from lake.clock import DAY_US, MINUTE_US, floor_to
from lake.vocab import Venue

Members = tuple[Event, list[Market]]
"""An event with its markets, by number."""

_FIRST: Final = -(2**62)


class Listing:
    """The markets of one venue up to `at`: those that live, and those that ended within a day.

    The world is asked once for the living ones; from then on what happens is followed. Those that had ended before
    are many and are asked for only when a request wants them.
    """

    def __init__(self, world: World, venue: Venue, at: int) -> None:
        self.world = world
        self.venue = venue
        self.at = at
        self.by_id: dict[str, Market] = {}
        self.by_token: dict[str, tuple[Market, bool]] = {}  # and whether it is the first outcome's
        self._by_number: dict[int, Market] = {}
        self._by_event: dict[str, list[Market]] = {}
        self._numbers: list[int] = []
        self._events: list[tuple[int, str]] = []  # number of an event's first market, and the event's id
        self._books: dict[str, Book] = {}
        self.changed: dict[str, Market] = {}  # by news: as the venue tells it now
        self.paused: set[str] = set()
        self._figures: dict[str, Figures] = {}
        self._figured = at
        self._has_past = False
        self._version = 0
        self._kept: dict[str, tuple[int, Any]] = {}
        self._add_all(world.markets(venue, at))

    def happen(self, happening: Happening) -> None:
        """Take what happens."""
        if happening.kind is Kind.LISTED:
            self._add(happening.market)
        if happening.kind is Kind.GONE:
            self._version += 1
        if happening.book is not None:
            self._books[happening.market.native_id] = happening.book

    def move(self, at: int) -> None:
        """The clock is at `at`; once a minute those that ended a day ago are forgotten."""
        is_new_minute = floor_to(at, MINUTE_US) != floor_to(self.at, MINUTE_US)
        self.at = at
        if is_new_minute:
            old = [each for each in self._by_number.values() if each.determined <= at - DAY_US]
            for market in old:
                self._drop(market)

    def before(self, happening: Happening) -> Book:
        """The book that it changes; to be asked before it is taken by `happen`."""
        found = self._books.get(happening.market.native_id)
        return self.world.book(happening.market, happening.time - 1) if found is None else found

    def book(self, market: Market) -> Book:
        """The book now."""
        found = self._books.get(market.native_id)
        if found is None:
            found = self._books[market.native_id] = self.world.book(market, self.at)
        return found

    def figures(self, market: Market) -> Figures:
        """What the venue reports of it now."""
        if self._figured != self.at:
            self._figures.clear()
            self._figured = self.at
        found = self._figures.get(market.native_id)
        if found is None:
            found = self._figures[market.native_id] = self.world.figures(market, self.at)
        return found

    def told(self, market: Market) -> Market:
        """The market as the venue tells it now: news may have changed its close, label or tick size."""
        return self.changed.get(market.native_id, market)

    def change(self, market: Market, **fields: Any) -> Market:
        """Tell it with these fields from now on; with none of them as it is."""
        own = replace(self.told(market), **fields) if fields else market
        if own == market:
            self.changed.pop(market.native_id, None)
        else:
            self.changed[market.native_id] = own
        return own

    def prepare(self, markets: Sequence[Market]) -> None:
        """Make `book` and the figures of these markets quick."""
        self.world.prepare(markets, self.at)

    def living(self) -> list[Market]:
        """Those that are not gone, by number."""
        found: list[Market] = self.kept("living", lambda: [each for each in self.after(_FIRST) if self.at < each.gone])
        return found

    def known(self) -> list[Market]:
        """The living ones and those determined within a day, by number."""
        self._read_past()
        found: list[Market] = self.kept("known", lambda: list(self.after(_FIRST)))
        return found

    def after(self, number: int) -> Iterator[Market]:
        """Those at hand with a higher number, by number: all living ones, and some that are gone."""
        for place in range(bisect_right(self._numbers, number), len(self._numbers)):
            yield self._by_number[self._numbers[place]]

    def events_after(self, number: int, *, is_known: bool = False) -> Iterator[Members]:
        """Events whose first market has a higher number, with their living markets, or, if `is_known`, with all."""
        if is_known:
            self._read_past()
        for place in range(bisect_right(self._events, (number, "\U0010ffff")), len(self._events)):
            markets = self._by_event[self._events[place][1]]
            if not is_known:
                markets = [market for market in markets if self.at < market.gone]
            if markets:
                yield markets[0].event, markets

    def event(self, native_id: str) -> Members | None:
        """That event with its markets."""
        if native_id not in self._by_event:
            self._read_past()
        markets = self._by_event.get(native_id)
        return None if markets is None else (markets[0].event, list(markets))

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, made anew only when a market has come or gone."""
        version, found = self._kept.get(name, (-1, None))
        if version != self._version:
            found = make()
            self._kept[name] = self._version, found
        return found

    def named(self, native_id: str) -> Market | None:
        """The market of that id."""
        return self.by_id.get(native_id) or self.world.market(self.venue, native_id, self.at)

    def numbered(self, number: int) -> Market | None:
        """The market of that number."""
        if number not in self._by_number:
            self._read_past()
        return self._by_number.get(number)

    def token(self, token: str) -> tuple[Market, bool] | None:
        """The market of a token, and whether it is the first outcome's."""
        if token not in self.by_token:
            self._read_past()
        return self.by_token.get(token)

    def _read_past(self) -> None:
        if not self._has_past:
            self._has_past = True
            self._add_all(self.world.past(self.venue, self.at))

    def _add_all(self, markets: Sequence[Market]) -> None:
        """Many at once, sorted at the end."""
        new = [market for market in markets if market.number not in self._by_number]
        firsts = dict(reversed([(name, first) for first, name in self._events]))
        for market in new:
            self._name(market)
        self._numbers = sorted(self._by_number)
        for name in dict.fromkeys(market.event.native_id for market in new):
            self._by_event[name].sort(key=_number)
            firsts[name] = self._by_event[name][0].number
        self._events = sorted((first, name) for name, first in firsts.items())
        self._version += 1

    def _add(self, market: Market) -> None:
        if market.number in self._by_number:
            return
        self._name(market)
        insort(self._numbers, market.number)
        markets = self._by_event[market.event.native_id]
        if len(markets) > 1:
            self._forget_event(min(each.number for each in markets[:-1]), market.event.native_id)
        markets.sort(key=_number)
        insort(self._events, (markets[0].number, market.event.native_id))
        self._version += 1

    def _name(self, market: Market) -> None:
        self.by_id[market.native_id] = market
        self._by_number[market.number] = market
        self._by_event.setdefault(market.event.native_id, []).append(market)
        for place, token in enumerate(market.tokens):
            if token:
                self.by_token[token] = (market, place == 0)

    def _drop(self, market: Market) -> None:
        self._by_number.pop(market.number, None)
        self.by_id.pop(market.native_id, None)
        self._books.pop(market.native_id, None)
        for token in market.tokens:
            self.by_token.pop(token, None)
        self._numbers.pop(bisect_left(self._numbers, market.number))
        markets = self._by_event[market.event.native_id]
        self._forget_event(markets[0].number, market.event.native_id)
        markets.remove(market)
        if markets:
            insort(self._events, (markets[0].number, market.event.native_id))
        else:
            del self._by_event[market.event.native_id]
        self._version += 1

    def _forget_event(self, first: int, name: str) -> None:
        self._events.pop(bisect_left(self._events, (first, name)))


def _number(market: Market) -> int:
    return market.number


def members(markets: Sequence[Market]) -> dict[str, tuple[Event, list[Market]]]:
    """Events with those markets, in the order in which they are first met."""
    found: dict[str, tuple[Event, list[Market]]] = {}
    for market in markets:
        found.setdefault(market.event.native_id, (market.event, []))[1].append(market)
    return found

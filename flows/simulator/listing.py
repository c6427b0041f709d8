"""Which markets a simulated venue knows now, by every name that a request may use, and their books."""

from collections.abc import Sequence

from flows.simulator.base import Book, Event, Happening, Kind, Market, World
from lake.clock import DAY_US, MINUTE_US, floor_to
from lake.vocab import Venue


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
        self._books: dict[str, Book] = {}
        self._has_past = False
        for market in world.markets(venue, at):
            self._add(market)

    def happen(self, happening: Happening) -> None:
        """Take what happens."""
        if happening.kind is Kind.LISTED:
            self._add(happening.market)
        if happening.book is not None:
            self._books[happening.market.native_id] = happening.book

    def move(self, at: int) -> None:
        """The clock is at `at`; once a minute those that ended a day ago are forgotten."""
        is_new_minute = floor_to(at, MINUTE_US) != floor_to(self.at, MINUTE_US)
        self.at = at
        if is_new_minute:
            for market in [each for each in self._by_number.values() if each.determined <= at - DAY_US]:
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

    def living(self) -> list[Market]:
        """Those that are not gone, by number."""
        return [market for _, market in sorted(self._by_number.items()) if self.at < market.gone]

    def known(self) -> list[Market]:
        """The living ones and those determined within a day, by number."""
        self._read_past()
        return [market for _, market in sorted(self._by_number.items())]

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
            for market in self.world.past(self.venue, self.at):
                self._add(market)

    def _add(self, market: Market) -> None:
        self.by_id[market.native_id] = market
        self._by_number[market.number] = market
        for place, token in enumerate(market.tokens):
            if token:
                self.by_token[token] = (market, place == 0)

    def _drop(self, market: Market) -> None:
        self._by_number.pop(market.number, None)
        self.by_id.pop(market.native_id, None)
        self._books.pop(market.native_id, None)
        for token in market.tokens:
            self.by_token.pop(token, None)


def members(markets: Sequence[Market]) -> dict[str, tuple[Event, list[Market]]]:
    """Events with those markets, in the order in which they are first met."""
    found: dict[str, tuple[Event, list[Market]]] = {}
    for market in markets:
        found.setdefault(market.event.native_id, (market.event, []))[1].append(market)
    return found

"""The simulated world: what `base.World` asks for, from the model's parts.

Nothing is integrated: any instant can be asked about in any order, and the same (seed, markets, rate) gives the same
answer. What is remembered only saves time: a second of happenings, the book in force of each slot.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from flows.simulator.base import Book, Candles, Figures, Happening, Label, Market
from flows.simulator.books import ONE
from flows.simulator.history import History
from flows.simulator.labels import labels
from flows.simulator.states import States
from flows.simulator.tape import Tape
from flows.simulator.universe import BACK, Universe
from lake.clock import DAY_US, MINUTE_US, SECOND_US
from lake.vocab import Venue

_BATCH: Final = 64
_PAGE: Final = 5 * SECOND_US
_DAY_AGO_STEP: Final = 10 * MINUTE_US
_NUMBER: Final = attrgetter("number")
_NO_BOOK: Final = Book((), (), 0, None)


class _Held(NamedTuple):
    """A slot's book from one update to the next."""

    turn: int
    start: int
    end: int
    book: Book

    def holds(self, at: int) -> bool:
        """Whether it is the book at that time."""
        return self.start <= at < self.end


_NOT_HELD: Final = _Held(-1, 0, 0, _NO_BOOK)


class SimulatedWorld:
    """A seeded universe of `markets` markets of both venues together that says about `rate` messages a second."""

    def __init__(self, seed: int, markets: int, rate: float) -> None:
        self._universe = Universe(seed, markets)
        self._states = States(self._universe, rate)
        self._history = History(self._states)
        self._held = [_NOT_HELD] * len(self._universe.slots)
        self._asked = -1
        self._lists: dict[Venue, tuple[int, int, list[Market]]] = {}
        self._market = lru_cache(8 * markets + 4_096)(self._market_of)
        self._tape = Tape(self._states, self._market)
        self._slot = lru_cache(8 * markets + 4_096)(self._slot_of)
        self._day_ago = lru_cache(4)(self._mids)

    def markets(self, venue: Venue, at: int) -> Sequence[Market]:
        """Markets with listed <= at < gone, by `number`."""
        start, end, found = self._lists.get(venue, (0, 0, []))
        if not start <= at < end:
            near = self._near(venue, at, at)
            found = sorted((each for each in near if each.listed <= at < each.gone), key=_NUMBER)
            edges = [edge for each in near for edge in (each.gone, each.close) if edge > at]
            self._lists[venue] = at, min(edges, default=at + 1), found
        return found

    def market(self, venue: Venue, native_id: str, at: int) -> Market | None:
        """That market, if it was listed by then; one that is gone for at most a day is still known."""
        place = self._universe.find(venue, native_id)
        found = None if place is None else self._market(*place)
        return found if found and found.listed <= at < found.gone + DAY_US else None

    def past(self, venue: Venue, at: int) -> Sequence[Market]:
        """Markets determined within the day before `at`, by `number`."""
        near = self._near(venue, at - DAY_US, at)
        return sorted((each for each in near if at - DAY_US < each.determined <= at), key=_NUMBER)

    def book(self, market: Market, at: int) -> Book:
        """The book after everything that happened up to and with `at`; empty from `determined` on."""
        if at < market.listed:
            return _NO_BOOK
        slot, turn = self._slot(market.venue, market.native_id)
        book = self._book(slot, turn, min(at, market.close - 1))
        return Book((), (), market.determined, book.last_trade) if at >= market.determined else book

    def happenings(self, start: int, end: int) -> Iterator[Happening]:
        """What happens to all markets of both venues in start < time <= end, in order of time."""
        return self._tape.between(start, end)

    def trades(self, market: Market, start: int, end: int) -> Sequence[Happening]:
        """The trades of one market in start < time <= end, in order: those that `happenings` tells."""
        return self._tape.trades(*self._slot(market.venue, market.native_id), start, end)

    def candles(self, markets: Sequence[Market], start: int, end: int) -> Sequence[Candles]:
        """Minutes with start <= minute < end of each of the markets, in their order; fast for hundreds at once."""
        slots = [self._slot(each.venue, each.native_id)[0] for each in markets]
        return self._history.candles(slots, markets, start, end) if markets else []

    def figures(self, market: Market, at: int) -> Figures:
        """What the venue reports of it; `day_ago` to the ten minutes."""
        slot, turn = self._slot(market.venue, market.native_id)
        day_ago = at - DAY_US - (at - DAY_US) % _DAY_AGO_STEP
        mid = self._day_ago(day_ago).get((slot, turn)) if market.listed <= day_ago < market.close else None
        return self._history.figures(slot, market, at, mid)

    def labels(self, start: int, end: int) -> Sequence[Label]:
        """What the model did on purpose in start < time <= end."""
        return labels(self._states, self._market, start, end)

    def _near(self, venue: Venue, start: int, end: int) -> Iterator[Market]:
        """The markets of a venue that may have been there at some time from start to end, and some more."""
        first, last = self._universe.turns(start) - BACK, self._universe.turns(end)
        found = [
            (slot, turn)
            for slot in self._universe.slots
            if slot.venue is venue
            for turn in range(int(first[slot.place]), int(last[slot.place]) + 1)
            if self._universe.ends(slot.family.place, turn)[-1] > start
        ]
        self._states.paths.draw_winners([(slot.family.place, turn) for slot, turn in found])
        for slot, turn in found:
            yield self._market(slot.place, turn)

    def _market_of(self, slot: int, turn: int) -> Market:
        winner = self._states.paths.winner(int(self._states.paths.latent[slot]), turn)
        return self._universe.market(slot, turn, winner)

    def _slot_of(self, venue: Venue, native_id: str) -> tuple[int, int]:
        place = self._universe.find(venue, native_id)
        if place is None:
            raise KeyError(f"{native_id}: no market of this world; ask `markets` for those there are")
        return place

    def _book(self, slot: int, turn: int, at: int) -> Book:
        held = self._held[slot]
        if held.turn != turn or not held.holds(at):
            self._hold(slot, turn, at)
        return self._held[slot].book

    def _hold(self, slot: int, turn: int, at: int) -> None:
        """Holds the book of a slot; if one was asked for just before, then with some others, which may come next."""
        turns = self._universe.turns(at)
        is_page = abs(at - self._asked) < _PAGE and turns[slot] == turn
        self._asked = at
        others = [place for place in self._stale(slot, at) if place != slot] if is_page else []
        slots = np.array([slot, *others])
        when = np.array([turn, *turns[others].tolist()])
        books = self._tape.books(slots, when, at)
        for place, held_turn, held in zip(slots.tolist(), when.tolist(), books, strict=True):
            self._held[place] = _Held(held_turn, *held)

    def _stale(self, slot: int, at: int) -> list[int]:
        """Slots from there on, and round again, whose held book is of another time."""
        places = chain(range(slot, len(self._held)), range(slot))
        return list(islice((place for place in places if not self._held[place].holds(at)), _BATCH))

    def _mids(self, at: int) -> dict[tuple[int, int], int]:
        """The mid of each slot and turn with a book of two sides at that time."""
        slots = np.arange(len(self._universe.slots))
        turn = self._universe.turns(at)
        touch = self._states.touch(self._states.activity.before(slots, np.full(len(slots), at)), turn)
        tick = self._states.books.tick
        is_two_sided = (touch.bid > 0) & (touch.ask < ONE // tick)
        mid = (touch.bid + touch.ask) * tick // 2
        rows = np.flatnonzero(is_two_sided).tolist()
        return {(row, int(turn[row])): int(mid[row]) for row in rows}

"""The simulated world: what `base.World` asks for, from the model's parts.

Nothing is integrated: any instant can be asked about in any order, and the same (seed, markets, rate) gives the same
answer. What is remembered only saves time: a second of happenings, the book in force of each slot.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from flows.simulator.activity import CROWDED
from flows.simulator.base import Book, Candles, Figures, Happening, Label, Market
from flows.simulator.books import ONE
from flows.simulator.chance import Ints
from flows.simulator.history import History
from flows.simulator.labels import labels
from flows.simulator.states import States
from flows.simulator.tape import Tape
from flows.simulator.universe import BACK, Universe
from lake.clock import DAY_US, MINUTE_US
from lake.vocab import Venue

_PAGE: Final = 2_000  # markets
_MIDS: Final = 4  # times of which mids are remembered
_DAY_AGO_STEP: Final = 10 * MINUTE_US
_NUMBER: Final = attrgetter("number")
_NO_BOOK: Final = Book((), (), 0, None)


class _Held(NamedTuple):
    """A slot's book from one update to the next."""

    turn: int
    start: int
    end: int
    book: Book


_NOT_HELD: Final = _Held(-1, 0, 0, _NO_BOOK)


class SimulatedWorld:
    """A seeded universe of `markets` markets of both venues together that says about `rate` messages a second."""

    def __init__(self, seed: int, markets: int, rate: float) -> None:
        self._universe = Universe(seed, markets)
        self._states = States(self._universe, rate)
        self._history = History(self._states)
        self._held = [_NOT_HELD] * len(self._universe.slots)
        self._mids: dict[int, dict[tuple[int, int], int | None]] = {}
        self._lists: dict[Venue, tuple[int, int, list[Market]]] = {}
        self._market = lru_cache(8 * markets + 4_096)(self._market_of)
        self._tape = Tape(self._states, self._market)
        self._slot = lru_cache(8 * markets + 4_096)(self._slot_of)

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

    def prepare(self, markets: Sequence[Market], at: int) -> None:
        """Makes `book` and `figures` of these markets at that time quick; of very many the figures alone."""
        places = dict(self._slot(each.venue, each.native_id) for each in markets if each.listed <= at < each.close)
        is_page = len(places) <= _PAGE
        stale = [(slot, turn) for slot, turn in places.items() if is_page and not self._is_held(slot, turn, at)]
        if stale:
            self._hold([slot for slot, _ in stale], [turn for _, turn in stale], at)
        known = self._mids.get(_day_ago(at), {})
        new = [slot for slot, turn in places.items() if (slot, turn) not in known]
        if len(self._held) > CROWDED and new:
            self._draw_mids(np.array(new), _day_ago(at))

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
        day_ago = _day_ago(at)
        mid = self._mid_then(slot, turn, day_ago) if market.listed <= day_ago < market.close else None
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
        if not self._is_held(slot, turn, at):
            self._hold([slot], [turn], at)
        return self._held[slot].book

    def _is_held(self, slot: int, turn: int, at: int) -> bool:
        held = self._held[slot]
        return held.turn == turn and held.start <= at < held.end

    def _hold(self, slots: list[int], turns: list[int], at: int) -> None:
        """Holds the books of slots, all different."""
        books = self._tape.books(np.array(slots), np.array(turns), at)
        for slot, turn, held in zip(slots, turns, books, strict=True):
            self._held[slot] = _Held(turn, *held)

    def _mid_then(self, slot: int, turn: int, at: int) -> int | None:
        """The mid of a slot at that time of the past; in a world that is not crowded that of all slots is drawn."""
        known = self._mids.setdefault(at, {})
        if (slot, turn) not in known:
            every = len(self._held) <= CROWDED
            self._draw_mids(np.arange(len(self._held)) if every else np.array([slot]), at)
        return known.get((slot, turn))

    def _draw_mids(self, slots: Ints, at: int) -> None:
        """The mid of each slot's turn at that time, None where its book had not two sides."""
        turn = self._universe.turns(at)[slots]
        touch = self._states.touch(self._states.activity.before(slots, np.full(len(slots), at)), turn)
        tick = self._states.books.tick[slots]
        is_two_sided = ((touch.bid > 0) & (touch.ask < ONE // tick)).tolist()
        mids = ((touch.bid + touch.ask) * tick // 2).tolist()
        found = zip(slots.tolist(), turn.tolist(), mids, is_two_sided, strict=True)
        known = self._mids.setdefault(at, {})
        known.update(((slot, its), mid if is_there else None) for slot, its, mid, is_there in found)
        while len(self._mids) > _MIDS:
            del self._mids[min(self._mids)]


def _day_ago(at: int) -> int:
    return at - DAY_US - (at - DAY_US) % _DAY_AGO_STEP

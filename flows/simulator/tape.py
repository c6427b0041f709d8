"""What happens, second by second: the updates of all slots told as changes of levels, trades and turns of life."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np

from flows.simulator.activity import Updates
from flows.simulator.base import Book, Happening, Kind, Market
from flows.simulator.books import Sides
from flows.simulator.chance import Ints, digest
from flows.simulator.last_trades import NONE, LastTrades
from flows.simulator.states import States, Trades
from flows.simulator.universe import BACK
from lake.clock import MINUTE_US, SECOND_US

_SECOND: Final = SECOND_US
_TIME: Final = attrgetter("time")
_ORDER: Final = itemgetter(0, 1)
_NOTHING: Final = Book((), (), 0, None)
_LIFE: Final = (Kind.LISTED, Kind.CLOSED, Kind.DETERMINED, Kind.GONE)

_Ranked = tuple[int, int, Happening]


class _Life(NamedTuple):
    """A turn of a market's life."""

    time: int
    kind: Kind
    slot: int
    turn: int


class Tape:
    """The happenings of a universe; a few seconds of them are remembered."""

    def __init__(self, states: States, market: Callable[[int, int], Market]) -> None:
        self._states = states
        self._universe = states.universe
        self._market = market
        self._last = LastTrades(states)
        self._second = lru_cache(8)(self._told)
        self._updates = lru_cache(2)(states.activity.minute)
        self._lives = lru_cache(2)(self._life_of)

    def between(self, start: int, end: int) -> Iterator[Happening]:
        """All with start < time <= end, in order of time."""
        for second in range(start // _SECOND, -(-end // _SECOND)):
            told = self._second(second)
            yield from told[bisect_right(told, start, key=_TIME) : bisect_right(told, end, key=_TIME)]

    def trades(self, slot: int, turn: int, start: int, end: int) -> list[Happening]:
        """Those of one slot's turn."""
        opens, closes = self._universe.slots[slot].family.span(turn)
        minute = np.arange(max(start, opens) // MINUTE_US, min(end, closes) // MINUTE_US + 1)
        slots, turns = np.full(len(minute), slot), np.full(len(minute), turn)
        found = self._states.trades_in(slots, turns, minute, start, end)
        before = self._books_before(slots[found.row], turns[found.row], found.time)
        market = self._market(slot, turn)
        told: list[Happening] = []
        for place, book in enumerate(before):
            last = told[-1].price if told else self._last_before(slot, turn, int(found.time[0]))
            told.append(self._trade(found, place, market, replace(book, last_trade=last)))
        return told

    def _last_before(self, slot: int, turn: int, time: int) -> int | None:
        price = self._last_prices(np.array([slot]), np.array([turn]), time - 1)[slot, turn]
        return None if price == NONE else price

    def books(self, slot: Ints, turn: Ints, at: int) -> list[tuple[int, int, Book]]:
        """Of each slot, all different, the book at that time, from when and until when it is so."""
        when = np.full(len(slot), at)
        updates = self._states.activity.before(slot, when)
        trades = self._states.trades(updates, turn)
        last = self._last.at(slot, turn, at)
        prices = np.where(last == NONE, NONE, last * self._states.books.tick[slot]).tolist()
        times = self._states.time(updates, turn).tolist()
        ends = self._states.activity.following(updates).time.tolist()
        sides = self._states.sides(updates, turn, trades)
        rows = zip(times, ends, sides, prices, strict=True)
        return [(start, end, _book(side, start, price)) for start, end, side, price in rows]

    def _books_before(self, slot: Ints, turn: Ints, time: Ints) -> list[Book]:
        updates = self._states.activity.before(slot, time - 1)
        sides = self._states.sides(updates, turn, self._states.trades(updates, turn))
        times = self._states.time(updates, turn).tolist()
        return [_book(side, start, NONE) for side, start in zip(sides, times, strict=True)]

    def _told(self, second: int) -> list[Happening]:
        start, end = second * _SECOND, (second + 1) * _SECOND
        lives = [life for minute in _minutes(start, end) for life in self._lives(minute) if start < life.time <= end]
        ranked = [*self._ranked_lives(lives), *self._ranked_updates(start, end, lives)]
        ranked.sort(key=_ORDER)
        return [happening for _, _, happening in ranked]

    def _ranked_lives(self, lives: Sequence[_Life]) -> Iterator[_Ranked]:
        """A market's book is emptied just before it is determined."""
        for life in lives:
            market = self._market(life.slot, life.turn)
            book = _NOTHING
            if life.kind is Kind.DETERMINED:
                last = self._closing(life.slot, life.turn, market.close)
                book = Book((), (), life.time, last.last_trade)
                changes = _changes(last, book)
                if changes:
                    yield life.time, 1, Happening(life.time, Kind.BOOK, market, book, changes)
            yield life.time, 3 if life.kind is Kind.LISTED else 2, Happening(life.time, life.kind, market)

    def _closing(self, slot: int, turn: int, close: int) -> Book:
        return self.books(np.array([slot]), np.array([turn]), close - 1)[0][2]

    def _ranked_updates(self, start: int, end: int, lives: Sequence[_Life]) -> Iterator[_Ranked]:
        """Trades and changes of books, of each slot in order of time."""
        found = [self._updates(minute) for minute in _minutes(start, end)]
        updates = Updates(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
        updates = updates.take((updates.time > start) & (updates.time <= end))
        turn = (updates.time - self._universe.phase[updates.slot]) // self._universe.period[updates.slot]
        is_own = updates.time > self._universe.phase[updates.slot] + turn * self._universe.period[updates.slot]
        updates, turn = updates.take(is_own), turn[is_own]
        _, first = np.unique(updates.slot * 4 + turn % 4, return_index=True)
        opened = [life for life in lives if life.kind is Kind.LISTED]
        new = np.array([life.slot for life in opened], dtype=np.int64)
        listings = self._states.activity.before(new, np.array([life.time for life in opened], dtype=np.int64))
        before = self._states.activity.previous(updates.take(first))
        every = Updates(*(np.concatenate(columns) for columns in zip(before, listings, updates, strict=True)))
        turns = np.concatenate([turn[first], np.array([life.turn for life in opened], dtype=np.int64), turn])
        stage = np.repeat([0, 1, 2], [len(first), len(new), len(turn)])
        order = np.lexsort((stage, self._states.time(every, turns), turns, every.slot))
        yield from self._compared(every.take(order), turns[order], stage[order].tolist(), start, end)

    def _compared(self, updates: Updates, turn: Ints, stage: list[int], start: int, end: int) -> Iterator[_Ranked]:
        """Each update against the one before; stage 0 is told only what was before, stage 1 opens a market."""
        trades = self._states.trades(updates, turn)
        sides = self._states.sides(updates, turn, trades)
        times, slots, turns = self._states.time(updates, turn).tolist(), updates.slot.tolist(), turn.tolist()
        last = self._last_prices(updates.slot, turn, start)
        edges = np.searchsorted(trades.row, np.arange(len(times) + 1)).tolist()
        prices = (trades.price * self._states.books.tick[trades.slot]).tolist()
        self._follow(updates, turn, trades, start, end)
        book = _NOTHING
        for row, time in enumerate(times):
            key = slots[row], turns[row]
            if stage[row] == 0:
                book = _book(sides[row], time, last[key])
                continue
            market = self._market(*key)
            if stage[row] == 1:
                book = _NOTHING
            for place in range(edges[row], edges[row + 1]):
                yield time, 4, self._trade(trades, place, market, book)
                last[key] = prices[place]
                book = replace(book, last_trade=prices[place])
            fresh = _book(sides[row], time, last[key])
            changes = _changes(book, fresh)
            if changes:
                yield time, 4, Happening(time, Kind.BOOK, market, fresh, changes)
            book = fresh

    def _last_prices(self, slot: Ints, turn: Ints, at: int) -> dict[tuple[int, int], int]:
        """The last trade's price of each slot and turn at that time."""
        pairs = sorted(set(zip(slot.tolist(), turn.tolist(), strict=True)))
        latest = dict(pairs)  # of a slot that begins a turn within the second, the new one
        slots, turns = np.array(list(latest)), np.array(list(latest.values()))
        if not len(slots):
            return {}
        found = self._last.at(slots, turns, at)
        prices = np.where(found == NONE, NONE, found * self._states.books.tick[slots]).tolist()
        return dict.fromkeys(pairs, NONE) | dict(zip(latest.items(), prices, strict=True))

    def _follow(self, updates: Updates, turn: Ints, trades: Trades, start: int, end: int) -> None:
        new = np.flatnonzero(trades.time > start)
        new = new[np.argsort(trades.time[new], kind="stable")]
        row = trades.row[new]
        self._last.follow(start, end, updates.slot[row], turn[row], trades.time[new], trades.price[new])

    def _trade(self, trades: Trades, place: int, market: Market, book: Book) -> Happening:
        slot = int(trades.slot[place])
        name = digest(self._universe.seed, "trade", slot, int(trades.identity[place]))
        return Happening(
            time=int(trades.time[place]),
            kind=Kind.TRADE,
            market=market,
            book=book,
            price=int(trades.price[place] * self._states.books.tick[slot]),
            size=int(trades.size[place]),
            is_buy=bool(trades.is_buy[place]),
            trade_id=str(UUID(bytes=name[:16], version=4)),
        )

    def _life_of(self, minute: int) -> list[_Life]:
        """Turns of life in a minute, in order of time."""
        start, end = minute * MINUTE_US, (minute + 1) * MINUTE_US
        found = []
        for family in self._universe.families:
            now = (end - family.phase) // family.period
            for turn in range(now - BACK, now + 1):
                for kind, time in zip(_LIFE, self._universe.ends(family.place, turn), strict=True):
                    if start <= time < end:
                        slots = range(family.first_slot, family.first_slot + family.members * len(family.venues))
                        found += [_Life(time, kind, slot, turn) for slot in slots]
        return sorted(found, key=itemgetter(0, 2))


def _minutes(start: int, end: int) -> range:
    return range(start // MINUTE_US, end // MINUTE_US + 1)


def _book(sides: Sides, time: int, last_trade: int) -> Book:
    return Book(sides[0], sides[1], time, None if last_trade == NONE else last_trade)


def _changes(before: Book, after: Book) -> tuple[tuple[bool, int, int], ...]:
    """Levels of `after` that differ, and a size of 0 for those that are no more."""
    found: list[tuple[bool, int, int]] = []
    for is_bid, old, new in ((True, before.bids, after.bids), (False, before.asks, after.asks)):
        if old != new:
            found += _side_changes(is_bid, dict(old), dict(new))
    return tuple(found)


def _side_changes(is_bid: bool, old: dict[int, int], new: dict[int, int]) -> Iterator[tuple[bool, int, int]]:
    yield from ((is_bid, price, 0) for price in old if price not in new)
    yield from ((is_bid, price, size) for price, size in new.items() if old.get(price) != size)

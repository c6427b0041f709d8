"""Books and trades at updates: the one place where paths, activity and books meet.

All methods take arrays, so that a second of all markets, a day of one market and one book are the same computation.
"""

from typing import Final, NamedTuple

import numpy as np

from flows.simulator.activity import Activity, Updates
from flows.simulator.books import CENTI, ONE, Books, Sides, Touch
from flows.simulator.chance import Floats, Ints, draw, normal, uniform, word
from flows.simulator.paths import Paths
from flows.simulator.universe import Universe

_WHALE: Final = 0.01


class Trades(NamedTuple):
    """Executions at updates: arrays of equal length, by row and then in their order."""

    row: Ints  # of the updates, or slots and minutes, that were asked about
    slot: Ints
    time: Ints
    price: Ints  # ticks of the first outcome
    size: Ints  # 1e-6
    is_buy: Ints  # 0 or 1
    identity: Ints  # with the slot, unique


class States:
    """The state of slots at their updates. An update before its turn's listing stands for the listing itself."""

    def __init__(self, universe: Universe, rate: float) -> None:
        self.universe = universe
        self.paths = Paths(universe)
        self.activity = Activity(universe, self.paths, rate)
        self.books = Books(universe, self.activity.pace)
        self._side = word(universe.seed, "taker")
        self._key = draw(word(universe.seed, "trade"), np.arange(len(universe.slots)))
        luck = normal(self._key, np.array(-1))
        self.typical_size: Floats = 25.0 * np.exp(0.9 * luck)  # contracts, median

    def mean_size(self, slot: int) -> float:
        """Contracts of a trade on average."""
        return float(self.typical_size[slot] * np.exp(1.2**2 / 2) * (1.0 + 39.0 * _WHALE))

    def touch(self, updates: Updates, turn: Ints) -> Touch:
        """Best prices from each update on."""
        time = self.time(updates, turn)
        return self.books.touch(updates.slot, turn, time, self.paths.probability(updates.slot, turn, time))

    def time(self, updates: Updates, turn: Ints) -> Ints:
        """When each update happens: not before the listing."""
        slot = updates.slot
        return np.maximum(updates.time, self.universe.phase[slot] + turn * self.universe.period[slot])

    def sides(self, updates: Updates, turn: Ints, trades: Trades) -> list[Sides]:
        """Both sides of the book from each update on, after its trades."""
        count = len(updates.slot)
        eaten = np.bincount(trades.row, trades.size, count).astype(np.int64)
        sold = np.full(count, -1)
        sold[trades.row] = trades.price
        return self.books.sides(updates.slot, self.time(updates, turn), self.touch(updates, turn), eaten, sold)

    def trades(self, updates: Updates, turn: Ints) -> Trades:
        """The trades at each update, at the touch before it; none on an empty side, nor at a listing."""
        fills = self.activity.fills(updates.slot, updates.minute, updates.cells)
        is_here = (fills.cell == updates.cell[fills.row]) & (updates.time == self.time(updates, turn))[fills.row]
        row, place = fills.row[is_here], fills.place[is_here]
        return self._priced(updates.take(row), turn[row], row, place)

    def trades_in(self, slot: Ints, turn: Ints, minute: Ints, start: int, end: int) -> Trades:
        """The trades of slots in minutes (since the epoch), of the turn and with start < time <= end."""
        cells = self.activity.cells(slot, minute)
        row, place, cell = self.activity.fills(slot, minute, cells)
        time = self.activity.times(slot[row], minute[row], cell, cells[row])
        updates = Updates(slot[row], minute[row], cell, cells[row], time)
        opens = self.universe.phase[slot] + turn * self.universe.period[slot]
        closes = opens + self.universe.period[slot]
        kept = (time > np.maximum(opens, start)[row]) & (time < closes[row]) & (time <= end)
        found = self._priced(updates.take(kept), turn[row][kept], row[kept], place[kept])
        order = np.lexsort((found.identity, found.time, found.row))
        return Trades(*(column[order] for column in found))

    def _priced(self, updates: Updates, turn: Ints, row: Ints, place: Ints) -> Trades:
        """Trades, one an update given, with their prices and sizes; those without a counterpart are left out."""
        before = self.touch(self.activity.previous(updates), turn)
        key = self._key[updates.slot]
        is_buy = (draw(key, updates.minute * 512 + updates.cell) >> np.uint64(63)).astype(np.int64)
        price = np.where(is_buy == 1, before.ask, before.bid)
        identity = updates.minute * 32 + place
        size = self._size(updates.slot, identity)
        columns = (row, updates.slot, updates.time, price, size, is_buy, identity)
        is_there = (price > 0) & (price < ONE // self.books.tick[updates.slot])
        return Trades(*(column[is_there] for column in columns))

    def _size(self, slot: Ints, identity: Ints) -> Ints:
        """Contracts of a trade (1e-6): lognormal, a whale now and then, two decimals."""
        key = self._key[slot] ^ np.uint64(1)
        whale = np.where(uniform(key ^ np.uint64(2), identity) < _WHALE, 40.0, 1.0)
        size = self.typical_size[slot] * np.exp(1.2 * normal(key, identity)) * whale
        return np.maximum(np.rint(size * 100), 1).astype(np.int64) * CENTI

"""When books change and trades happen: a grid of cells in each minute of each slot, finer where much happens.

Each cell holds one update at a hashed time within it, so the update in force at any time is found without a search.
A trade happens at an update's time. Busy markets are few; jumps, drifts and bursts make any market busier for a while.
In a world of very many markets most are asleep: such a slot's minutes with an update are many minutes apart.
"""

from typing import Final, NamedTuple

import numpy as np

from flows.simulator.chance import Bools, Floats, Ints, draw, normal, uniform, word
from flows.simulator.paths import Paths
from flows.simulator.shocks import WINDOW
from flows.simulator.universe import Universe
from lake.clock import DAY_US, MINUTE_US

MOST_CELLS: Final = 240
MOST_TRADES: Final = 16
CROWDED: Final = 20_000
"""Slots of a world above which the quiet ones have no update in most minutes."""

LONGEST_SLEEP: Final = 240  # minutes

_CALM: Final = 6 * MINUTE_US  # a jump's heat is down to a third after this
_HOT: Final = 30 * MINUTE_US
_MESSAGES: Final = 2.1  # that an update stands for on average at the usual pace, and less at a faster one
_USUAL: Final = 500 / 3_000  # messages a second and market
_TRADES: Final = 0.06  # trades an update, on average
_TRADE_CYCLE: Final = 0.5
_TURN: Final = 2 * np.pi / DAY_US
_PEAK: Final = 18 * 60 * MINUTE_US


class Updates(NamedTuple):
    """Updates of books: arrays of equal length."""

    slot: Ints
    minute: Ints  # since the epoch
    cell: Ints
    cells: Ints  # of that minute
    time: Ints  # microseconds

    def take(self, places: Ints | Bools) -> "Updates":
        """Those of the rows."""
        return Updates(*(column[places] for column in self))

    def where(self, condition: Bools, other: "Updates") -> "Updates":
        """The other's rows where the condition holds."""
        return Updates(*(np.where(condition, theirs, own) for own, theirs in zip(self, other, strict=True)))


class Fills(NamedTuple):
    """Trades of minutes: arrays of equal length, in no order."""

    row: Ints  # of the asked slots and minutes
    place: Ints  # among the trades of the minute
    cell: Ints


class Activity:
    """Cells and trades of the slots of a universe."""

    def __init__(self, universe: Universe, paths: Paths, rate: float) -> None:
        seed, count = universe.seed, len(universe.slots)
        self._paths = paths
        self._key = draw(word(seed, "activity"), np.arange(count))
        family = np.array([slot.family.place for slot in universe.slots])
        kind = np.array([slot.family.kind.activity for slot in universe.slots])
        weight = kind * np.exp(1.3 * normal(word(seed, "busy family"), family) + 0.8 * normal(self._key, np.array(-1)))
        updates = rate * 60 / _MESSAGES * (rate / count / _USUAL) ** 0.1
        self.pace = _scaled(weight, updates)
        self._trade_pace = weight / weight.sum() * updates * _TRADES
        sleep = np.clip(1.0 / np.maximum(self.pace, 1e-9), 1, LONGEST_SLEEP).astype(np.int64)
        self._stride: Ints = sleep if count > CROWDED else np.ones(count, dtype=np.int64)
        self._shift: Ints = (uniform(self._key, np.array(-2)) * self._stride).astype(np.int64)

    def cells(self, slot: Ints, minute: Ints) -> Ints:
        """Updates of each slot in each minute (since the epoch), at least one."""
        heat = np.minimum(self.heat(slot, minute), 4.0)
        wanted = self.pace[slot] * heat * _daily(minute, 0.12)
        extra = uniform(self._key[slot], minute * 4 + 1)
        return np.clip((wanted + extra).astype(np.int64), 1, MOST_CELLS)

    def times(self, slot: Ints, minute: Ints, cell: Ints, cells: Ints) -> Ints:
        """The time of each cell's update: within the minute, rising with the cell."""
        offset = uniform(self._key[slot] ^ np.uint64(0xA5), minute * 256 + cell)
        return minute * MINUTE_US + ((cell + 0.01 + 0.98 * offset) * (MINUTE_US / cells)).astype(np.int64)

    def awake(self, slot: Ints, minute: Ints) -> Ints:
        """The last minute with an update of each slot, up to that minute."""
        return np.asarray(minute - (minute + self._shift[slot]) % self._stride[slot])

    def before(self, slot: Ints, at: Ints) -> Updates:
        """Each slot's last update at or before `at`."""
        minute = self.awake(slot, at // MINUTE_US)
        cells = self.cells(slot, minute)
        cell = np.minimum((at - minute * MINUTE_US) * cells // MINUTE_US, cells - 1)
        found = Updates(slot, minute, cell, cells, self.times(slot, minute, cell, cells))
        return found.where(found.time > at, self.previous(found))

    def previous(self, updates: Updates) -> Updates:
        """The update before each."""
        slot, is_first = updates.slot, updates.cell == 0
        minute = updates.minute - is_first * self._stride[slot]
        cells = updates.cells.copy()
        cells[is_first] = self.cells(slot[is_first], minute[is_first])
        cell = np.where(is_first, cells, updates.cell) - 1
        return Updates(slot, minute, cell, cells, self.times(slot, minute, cell, cells))

    def following(self, updates: Updates) -> Updates:
        """The update after each."""
        slot, is_last = updates.slot, updates.cell == updates.cells - 1
        minute = updates.minute + is_last * self._stride[slot]
        cells = updates.cells.copy()
        cells[is_last] = self.cells(slot[is_last], minute[is_last])
        cell = np.where(is_last, 0, updates.cell + 1)
        return Updates(slot, minute, cell, cells, self.times(slot, minute, cell, cells))

    def minute(self, minute: int) -> Updates:
        """All updates of all slots in a minute, in order of time."""
        every = np.flatnonzero((minute + self._shift) % self._stride == 0)
        cells = self.cells(every, np.full(len(every), minute))
        slot = np.repeat(every, cells)
        cell = np.arange(len(slot)) - np.repeat(np.cumsum(cells) - cells, cells)
        minutes, of = np.full(len(slot), minute), np.repeat(cells, cells)
        found = Updates(slot, minutes, cell, of, self.times(slot, minutes, cell, of))
        return found.take(np.lexsort((slot, found.time)))

    def fills(self, slot: Ints, minute: Ints, cells: Ints) -> Fills:
        """The trades of each slot and minute; several may share a cell."""
        key = self._key[slot] ^ np.uint64(0x5A)
        wanted = self._trade_pace[slot] * self.heat(slot, minute) * _daily(minute, _TRADE_CYCLE)
        luck = -np.log(uniform(key, minute * 32))
        is_awake = (minute + self._shift[slot]) % self._stride[slot] == 0
        wanted = wanted * self._stride[slot]
        count = np.clip((wanted * luck + uniform(key, minute * 32 + 1)).astype(np.int64), 0, MOST_TRADES) * is_awake
        row = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        bits = draw(key[row], minute[row] * 32 + 8 + place) >> np.uint64(40)
        return Fills(row, place, (bits % cells[row].astype(np.uint64)).astype(np.int64))

    def trades_a_day(self, slot: int) -> float:
        """Trades of a slot on an average calm day."""
        return float(self._trade_pace[slot]) * DAY_US / MINUTE_US

    @staticmethod
    def days(start: int, end: int) -> float:
        """Days between two times, each moment weighted by the daily cycle of trades."""
        turned = np.sin((end - _PEAK) * _TURN) - np.sin((start - _PEAK) * _TURN)
        return float((end - start) / DAY_US + _TRADE_CYCLE * turned / (2 * np.pi))

    def heat(self, slot: Ints, minute: Ints) -> Floats:
        """How much more happens than usual: 1 in a calm minute."""
        heat = np.ones(len(slot))
        if not len(slot):
            return heat
        at, latent = minute * MINUTE_US, self._paths.source[slot]
        shocks = self._paths.shocks
        for window in range((int(at.min()) - _HOT) // WINDOW, (int(at.max()) + MINUTE_US) // WINDOW + 1):
            jumps, drifts, bursts = shocks.jumps(window), shocks.drifts(window), shocks.bursts(window)
            age = at + MINUTE_US - jumps.start[latent]
            size = np.minimum(np.abs(jumps.size[latent]), 1.0) * ((age > 0) & (age < _HOT))
            heat += 9.0 * size * np.exp(-np.maximum(age, 0) / _CALM)
            runs = (at + MINUTE_US > drifts.start[latent]) & (at < drifts.start[latent] + drifts.length[latent])
            heat += 2.0 * np.abs(drifts.size[latent]) * runs
            heat += (bursts.factor[slot] - 1.0) * ((at + MINUTE_US > bursts.start[slot]) & (at < bursts.end[slot]))
        return heat


def _daily(minute: Ints, share: float) -> Floats:
    """The daily cycle: one on average, most at 18 hours UTC."""
    return np.asarray(1.0 + share * np.cos((minute * MINUTE_US - _PEAK) * _TURN))


def _scaled(weight: Floats, total: float) -> Floats:
    """Paces a minute in proportion to the weights, none over the most, which sum to about the total."""
    pace = weight / weight.sum() * total
    for _ in range(20):
        pace = np.minimum(pace * total / np.minimum(pace, MOST_CELLS * 0.8).sum(), MOST_CELLS * 0.8)
    return np.asarray(pace)

"""The price of the last trade of each slot, up to eight hours back."""

from typing import Final

import numpy as np

from flows.simulator.chance import Ints
from flows.simulator.states import States
from lake.clock import MINUTE_US

NONE: Final = -1
_REACH: Final = (0, 16, 480)  # minutes back, searched one stretch after the other


class LastTrades:
    """Looks back for a slot's last trade once, and follows the trades from there on."""

    def __init__(self, states: States) -> None:
        self._states = states
        count = len(states.universe.slots)
        self._turn: Ints = np.full(count, -1)
        self._price: Ints = np.full(count, NONE)
        self._from: Ints = np.zeros(count, dtype=np.int64)  # the price holds from here
        self._until: Ints = np.full(count, -1)  # to here, as far as we know

    def at(self, slot: Ints, turn: Ints, at: int) -> Ints:
        """Ticks of the last trade of each slot in that turn at or before `at`, or `NONE`; the slots differ."""
        is_known = (self._turn[slot] == turn) & (self._from[slot] <= at) & (at <= self._until[slot])
        found = self._price[slot].copy()
        missing = np.flatnonzero(~is_known)
        if len(missing):
            who, when = slot[missing], turn[missing]
            time, found[missing] = self._searched(who, when, at)
            self._turn[who], self._price[who], self._until[who] = when, found[missing], at
            self._from[who] = np.where(found[missing] == NONE, at, time)
        return found

    def follow(self, start: int, end: int, slot: Ints, turn: Ints, time: Ints, price: Ints) -> None:
        """Goes on from `start` to `end`, given all trades of all slots between them in order of time."""
        self._until[self._until == start] = end
        is_known = (self._until[slot] == end) & (self._turn[slot] == turn)
        self._price[slot[is_known]] = price[is_known]
        self._from[slot[is_known]] = time[is_known]

    def _searched(self, slot: Ints, turn: Ints, at: int) -> tuple[Ints, Ints]:
        time, price = np.full(len(slot), NONE), np.full(len(slot), NONE)
        listed = self._states.universe.phase[slot] + turn * self._states.universe.period[slot]
        last = at // MINUTE_US
        for newer, older in zip(_REACH, _REACH[1:], strict=False):
            open_ = np.flatnonzero((price == NONE) & (listed < (last - newer + 1) * MINUTE_US))
            minutes = np.arange(last - older + 1, last - newer + 1)
            row = np.repeat(open_, len(minutes))
            minute = np.tile(minutes, len(open_))
            is_awake = self._states.activity.awake(slot[row], minute) == minute
            row, minute = row[is_awake], minute[is_awake]
            trades = self._states.trades_in(slot[row], turn[row], minute, 0, at)
            time[row[trades.row]] = trades.time  # rising within a slot, so the last one stays
            price[row[trades.row]] = trades.price
        return time, price

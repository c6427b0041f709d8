"""Books around a probability: a touch by the market's liquidity, and levels that hold their size for a while.

A level's size is a hash of (slot, side, price, the level's epoch); the best level is smaller for one update after a
trade. So a book is a function of its slot, the time of its last update and that update's trade.
"""

from typing import Final, NamedTuple

import numpy as np

from flows.simulator.base import Level
from flows.simulator.chance import Bools, Floats, Ints, Words, draw, normal, uniform, word
from flows.simulator.universe import Universe
from lake.clock import MINUTE_US

WINDOW: Final = 24
"""Ticks behind the best price in which there may be levels."""

ONE: Final = 1_000_000
CENTI: Final = 10_000  # sizes have two decimals

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]
"""Bids and asks, best first."""


class Touch(NamedTuple):
    """Best prices in ticks; 0 is no bid, `ONE // tick` no ask."""

    bid: Ints
    ask: Ints


class Books:
    """The books of the slots of a universe."""

    def __init__(self, universe: Universe, pace: Floats) -> None:
        seed, slots = universe.seed, universe.slots
        self.tick: Ints = np.array([universe.tick(slot) for slot in slots])
        self._key = draw(word(seed, "books"), np.arange(len(slots)))
        luck = normal(self._key, np.array(-1))
        rank = np.argsort(np.argsort(pace + 1e-9 * luck)) / max(len(slots) - 1, 1)
        self._half = 0.002 + 0.055 * np.clip(1.0 - rank + 0.12 * luck, 0.0, 1.0) ** 2.5
        self._density = np.clip(0.25 + 0.6 * rank + 0.1 * luck, 0.2, 0.8)
        self._scale = 40.0 * np.exp(3.0 * rank + 0.5 * luck)
        self._renewed = (14 * MINUTE_US / np.clip(pace, 0.4, 240.0)).astype(np.int64)

    def touch(self, slot: Ints, turn: Ints, at: Ints, probability: Floats) -> Touch:
        """Best bid and ask of each slot whose last update is at `at`, around its probability."""
        tick, most = self.tick[slot], ONE // self.tick[slot]
        wide = np.exp(0.4 * normal(self._key[slot] ^ np.uint64(7), at // (20 * MINUTE_US)))
        half = self._half[slot] * wide * (0.25 + 3.0 * probability * (1.0 - probability))
        bid = np.floor((probability - half) * ONE / tick).astype(np.int64)
        ask = np.ceil((probability + half) * ONE / tick).astype(np.int64)
        ask = np.maximum(ask, bid + 1)
        kind = uniform(self._key[slot] ^ np.uint64(8), turn)
        no_bid = (bid < 1) | (kind < 0.03)
        no_ask = (ask >= most) | ((kind > 0.015) & (kind < 0.045))
        return Touch(np.where(no_bid, 0, bid), np.where(no_ask, most, ask))

    def sides(self, slot: Ints, at: Ints, touch: Touch, eaten: Ints, sold: Ints) -> list[Sides]:
        """The levels of each book; `eaten` contracts (1e-6) are taken from the level at `sold` ticks (-1: none)."""
        bids = self._levels(slot, at, touch.bid, -1, eaten, sold)
        asks = self._levels(slot, at, touch.ask, 1, eaten, sold)
        return list(zip(bids, asks, strict=True))

    def typical_depth(self, slot: int) -> float:
        """Dollars on both sides, about."""
        return float(WINDOW * self._density[slot] * self._scale[slot] * 1.8)

    def _levels(self, slot: Ints, at: Ints, best: Ints, way: int, eaten: Ints, sold: Ints) -> list[tuple[Level, ...]]:
        tick, most = self.tick[slot], ONE // self.tick[slot]
        ticks = best[:, None] + way * np.arange(WINDOW)
        is_there = (best[:, None] > 0) & (best < most)[:, None] & (ticks > 0) & (ticks < most[:, None])
        row, depth = np.nonzero(is_there)
        key, own = self._key[slot[row]], ticks[row, depth]
        kept = self._is_kept(key, slot[row], at[row], own) | (depth == 0)
        row, key, own = row[kept], key[kept], own[kept]
        size = self._sizes(key, slot[row], at[row], own)
        hit = own == sold[row]
        size[hit] = np.maximum(size[hit] - eaten[row][hit], size[hit] // 10 // CENTI * CENTI + CENTI)
        prices, sizes = (own * tick[row]).tolist(), size.tolist()
        ends = np.cumsum(np.bincount(row, minlength=len(slot))).tolist()
        pairs = list(zip(prices, sizes, strict=True))
        return [tuple(pairs[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def _is_kept(self, key: Words, slot: Ints, at: Ints, ticks: Ints) -> Bools:
        """Whether there is an order at that price; for a dozen epochs."""
        epoch = self._epoch(key, slot, at, ticks, 12)
        return uniform(key ^ np.uint64(3), epoch * 1024 + ticks) < self._density[slot]

    def _sizes(self, key: Words, slot: Ints, at: Ints, ticks: Ints) -> Ints:
        epoch = self._epoch(key, slot, at, ticks, 1)
        size = self._scale[slot] * np.exp(1.1 * normal(key ^ np.uint64(5), epoch * 1024 + ticks))
        return np.maximum(np.rint(size * 100), 100).astype(np.int64) * CENTI

    def _epoch(self, key: Words, slot: Ints, at: Ints, ticks: Ints, times: int) -> Ints:
        """Orders at a price are renewed at a time of that price's own."""
        width = self._renewed[slot] * times
        offset = (uniform(key ^ np.uint64(9), ticks) * width).astype(np.int64)
        return (at + offset) // width

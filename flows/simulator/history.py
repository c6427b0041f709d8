"""What a venue tells of the past: candles by the minute, and figures."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from flows.simulator.activity import Updates
from flows.simulator.base import Candles, Figures, Market
from flows.simulator.books import ONE
from flows.simulator.chance import Ints, share
from flows.simulator.states import States, Trades
from lake.clock import DAY_US, MINUTE_US

_AT_ONCE: Final = 8  # markets whose arrays stay in the processor's cache


class History:
    """Candles and figures of the markets of a universe."""

    def __init__(self, states: States) -> None:
        self._states = states

    def candles(self, slots: Sequence[int], markets: Sequence[Market], start: int, end: int) -> list[Candles]:
        """Minutes with start <= minute < end of each of the markets, which are in those slots."""
        found: list[Candles] = []
        for a in range(0, len(slots), _AT_ONCE):
            found += self._candles(slots[a : a + _AT_ONCE], markets[a : a + _AT_ONCE], start, end)
        return found

    def _candles(self, slots: Sequence[int], markets: Sequence[Market], start: int, end: int) -> list[Candles]:
        first = [max(-(-start // MINUTE_US), each.listed // MINUTE_US) for each in markets]
        last = [min(-(-end // MINUTE_US), each.close // MINUTE_US) for each in markets]
        count = np.maximum(np.array(last) - np.array(first), 0)
        slot = np.repeat(np.array(slots), count)
        minute = np.concatenate([np.arange(a, max(a, b)) for a, b in zip(first, last, strict=True)])
        turn = (minute * MINUTE_US - self._states.universe.phase[slot]) // self._states.universe.period[slot]
        bid, ask = self._quotes(slot, turn, minute)
        tick = self._states.books.tick[slot]
        is_two_sided = np.all((bid > 0) & (ask < (ONE // tick)[:, None]), axis=1)
        mid = (bid + ask) * tick[:, None] // 2
        price, volume = self._traded(slot, turn, minute)
        columns = (minute * MINUTE_US, mid, bid * tick[:, None], ask * tick[:, None], price, volume)
        found, edges = [], [0, *np.cumsum(count).tolist()]
        for a, b in zip(edges, edges[1:], strict=False):
            start_us, mids, *quotes, prices, volumes = (column[a:b][is_two_sided[a:b]] for column in columns)
            found.append(Candles(start_us, _ohlc(mids), _ohlc(quotes[0]), _ohlc(quotes[1]), prices, volumes))
        return found

    def _quotes(self, slot: Ints, turn: Ints, minute: Ints) -> tuple[Ints, Ints]:
        """Best prices (ticks) at a minute's start, somewhere in its middle, and at its end: shape (n, 3)."""
        activity = self._states.activity
        awake = activity.awake(slot, minute)
        is_asleep = awake != minute
        cells = activity.cells(slot, awake)
        is_first = np.flatnonzero(np.diff(slot, prepend=-1) | (np.diff(minute, prepend=-1) != 1))
        first = activity.before(slot[is_first], minute[is_first] * MINUTE_US)
        bids, asks = np.empty((len(slot), 3), np.int64), np.empty((len(slot), 3), np.int64)
        for place, cell in ((1, cells // 2), (2, cells - 1)):
            at = np.where(is_asleep, cells - 1, cell)  # a minute without an update has the last one's book
            updates = Updates(slot, awake, at, cells, activity.times(slot, awake, at, cells))
            bids[:, place], asks[:, place] = self._states.touch(updates, turn)
        bids[1:, 0], asks[1:, 0] = bids[:-1, 2], asks[:-1, 2]
        bids[is_first, 0], asks[is_first, 0] = self._states.touch(first, turn[is_first])
        return bids, asks

    def _traded(self, slot: Ints, turn: Ints, minute: Ints) -> tuple[Ints, Ints]:
        """OHLC of the trades of each row and their contracts."""
        trades: Trades = self._states.trades_in(slot, turn, minute, 0, 2**62)
        price = trades.price * self._states.books.tick[trades.slot]
        volume = np.bincount(trades.row, trades.size, len(slot)).astype(np.int64)
        ohlc = np.full((len(slot), 4), -1)
        ohlc[trades.row[::-1], 0] = price[::-1]
        ohlc[trades.row, 3] = price
        ohlc[trades.row, 2] = price
        np.maximum.at(ohlc[:, 1], trades.row, price)
        np.minimum.at(ohlc[:, 2], trades.row, price)
        return ohlc, volume

    def figures(self, slot: int, market: Market, at: int, day_ago: int | None) -> Figures:
        """What the venue reports of a market, given its mid of a day ago."""
        volume, before = self._volume(slot, market, at), self._volume(slot, market, at - DAY_US)
        typical = 0.2 + 0.6 * share(self._states.universe.seed, "typical price", slot)
        dollars = [int(contracts * typical) for contracts in (volume, volume - before)]
        return Figures(
            volume=volume,
            volume_24h=volume - before,
            volume_24h_usd=dollars[1],
            volume_usd=dollars[0],
            open_interest=int(volume * 0.45),
            liquidity_usd=int(self._states.books.typical_depth(slot) * ONE),
            day_ago=day_ago,
        )

    def _volume(self, slot: int, market: Market, at: int) -> int:
        """Contracts up to then (1e-6): as many as trade on average, by the daily cycle."""
        age = min(at, market.close) - market.listed
        if age <= 0:
            return 0
        rate = self._states.activity.trades_a_day(slot) * self._states.mean_size(slot)
        return int(rate * self._states.activity.days(market.listed, market.listed + age) * ONE)


def _ohlc(points: Ints) -> Ints:
    """Open, high, low, close of points in order of time, shape (n, k) to (n, 4)."""
    return np.stack([points[:, 0], points.max(axis=1), points.min(axis=1), points[:, -1]], axis=1)

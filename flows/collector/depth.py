"""How many dollars rest near the mid: a sample a market, at most every ten seconds, and only while its book changes.

Dollars are what those who quote have put up: a bid at p for n contracts holds n·p, an ask at p holds n·(1 - p), so a market
read in the direction of its other outcome has the same two figures, swapped. Samples are told apart by markets' keys: each
second a tenth of them is due, so that no instant has all the work.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from flows.collector.books import Book, Books
from flows.venues.decimals import ONE
from lake.clock import SECOND_US

NEAR: Final = 20_000
"""How far from the mid a level may lie, in 1e-6: 2 cents, edge included."""

EVERY: Final = 10
"""Seconds between two samples of a market."""

Sides = tuple[float | None, float | None]
"""Dollars of the bids and of the asks, to the cent; None for a side that is empty."""

DepthRow = tuple[int, int, float | None, float | None, int]
"""A row of `schema.DEPTH`, its time in microseconds."""


class DepthState(msgspec.Struct):
    """`Depth`, to be kept."""

    changed: list[int] = []
    said: dict[int, tuple[int, int, Sides]] = {}
    second: int = 0


class Depth:
    """Which books changed, and what was said of them last."""

    def __init__(self) -> None:
        self._changed: dict[int, None] = {}
        self._said: dict[int, tuple[int, int, Sides]] = {}  # in which second, as of when, and the dollars
        self._second = 0  # of the last look

    def state(self) -> DepthState:
        """All that is known, for `restore`."""
        return DepthState(list(self._changed), self._said, self._second)

    def restore(self, state: DepthState) -> None:
        """Go on from there."""
        self._changed, self._said, self._second = dict.fromkeys(state.changed), state.said, state.second

    def changed(self, markets: Iterable[int]) -> None:
        """Their books changed."""
        self._changed.update(dict.fromkeys(markets))

    def unknown(self, market: int) -> None:
        """Nothing was seen of the market for a while: its next sample is said, whatever was said before."""
        self._said.pop(market, None)

    def drop(self, market: int) -> None:
        """Forget the market."""
        self._said.pop(market, None)
        self._changed.pop(market, None)

    def is_due(self, received: int) -> bool:
        """Whether a second is over since the last look."""
        return received // SECOND_US != self._second

    def sample(self, books: Books, received: int, seq: int) -> Iterator[DepthRow]:
        """Rows of the markets whose turn has come: of those that changed, where the dollars did."""
        second, last = received // SECOND_US, self._second
        self._second = second
        first = max(last + 1, second - EVERY + 1) if last else second
        turns = {each % EVERY for each in range(first, second + 1)} or {second % EVERY}
        for market in [market for market in self._changed if market % EVERY in turns]:
            at, event, said = self._said.get(market, (0, 0, None))
            if 0 <= second - at < EVERY:
                continue  # its turn came late the last time
            del self._changed[market]
            book = books.get(market)
            sides = None if book is None else near(book)
            if book is not None and sides is not None and sides != said:
                event = max(event, book.event)
                self._said[market] = (second, event, sides)
                yield market, event, *sides, seq


def near(book: Book) -> Sides | None:
    """The dollars within 2 cents of the mid; None where not all levels are known, or the book is crossed.

    Where a side is empty there is no mid: that side is None, and the other is counted from its best price.
    """
    if not book.is_whole:
        return None
    bid, ask, *_ = book.top()
    if bid is None or ask is None:
        lowest, highest = -ONE if bid is None else bid - NEAR, ONE if ask is None else ask + NEAR
    elif bid >= ask:
        return None
    else:
        lowest, highest = (bid + ask + 1) // 2 - NEAR, (bid + ask) // 2 + NEAR
    bids = sum(price * size for price, size in book.bids.items() if price >= lowest)
    asks = sum((ONE - price) * size for price, size in book.asks.items() if price <= highest)
    return None if bid is None else _dollars(bids), None if ask is None else _dollars(asks)


def _dollars(amount: int) -> float:
    return round(amount / (ONE * ONE), 2)

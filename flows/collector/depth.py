"""How many dollars rest near the mid: a sample a market, at most every ten seconds, and only while its book changes.

Dollars are what those who quote have put up: a bid at p for n contracts holds n·p, an ask at p holds n·(1 - p), so a
market read in the direction of its other outcome has the same two figures, swapped. Each second a tenth of the markets
is due, by their keys, so that no instant has all the work.
"""

from collections.abc import Iterator
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
    due: int = 0


class Depth:
    """Which books changed, and what was said of them last."""

    def __init__(self) -> None:
        self.changed: dict[int, Book] = {}  # since their last sample
        self.due = 0  # when the next look is due, microseconds
        self._said: dict[int, tuple[int, int, Sides]] = {}  # in which second, as of when, and the dollars

    def state(self) -> DepthState:
        """All that is known, for `restore`."""
        return DepthState(list(self.changed), self._said, self.due)

    def restore(self, state: DepthState, books: Books) -> None:
        """Go on from there, with these books as they were then."""
        found = ((market, books.get(market)) for market in state.changed)
        self.changed = {market: book for market, book in found if book is not None}
        self._said, self.due = state.said, state.due

    def unknown(self, market: int) -> None:
        """Nothing was seen of the market for a while: its next sample is said, whatever was said before."""
        self._said.pop(market, None)

    def drop(self, market: int) -> None:
        """Forget the market."""
        self._said.pop(market, None)
        self.changed.pop(market, None)

    def is_due(self, received: int) -> bool:
        """Whether a second is over since the last look, or our clock was set back."""
        return not self.due - SECOND_US <= received < self.due

    def sample(self, books: Books, received: int, seq: int) -> Iterator[DepthRow]:
        """Rows of the markets whose turn has come: of those that changed, where the dollars did."""
        second, first = received // SECOND_US, self.due // SECOND_US
        self.due = (second + 1) * SECOND_US
        turns = {each % EVERY for each in range(max(first, second - EVERY + 1), second)} if first else set()
        turns.add(second % EVERY)
        changed, said = self.changed, self._said
        for market in [market for market in changed if market % EVERY in turns]:
            at, event, before = said.get(market, (0, 0, None))
            if 0 <= second - at < EVERY:
                continue  # its turn came late the last time
            del changed[market]
            book = books.get(market)
            sides = None if book is None else near(book)
            if book is not None and sides is not None and sides != before:
                event = max(event, book.event)
                said[market] = (second, event, sides)
                yield market, event, *sides, seq


def near(book: Book) -> Sides | None:
    """The dollars within 2 cents of the mid; None where not all levels are known, or the book is crossed.

    Where a side is empty there is no mid: that side is None, and the other is counted from its best price.
    """
    if not book.is_whole:
        return None
    bid, ask, *_ = book.top()
    if bid is None or ask is None:
        lowest, highest = ONE if bid is None else bid - NEAR, 0 if ask is None else ask + NEAR
    elif bid >= ask:
        return None
    else:
        lowest, highest = (bid + ask + 1) // 2 - NEAR, (bid + ask) // 2 + NEAR
    bids, asks, dollars_bid, dollars_ask = book.bids, book.asks, 0, 0
    for price in [price for price in bids if price >= lowest]:  # few of many, so these are found first
        dollars_bid += price * bids[price]
    for price in [price for price in asks if price <= highest]:
        dollars_ask += (ONE - price) * asks[price]
    return None if bid is None else round(dollars_bid / _UNIT, 2), None if ask is None else round(
        dollars_ask / _UNIT, 2
    )


_UNIT: Final = ONE * ONE

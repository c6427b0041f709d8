"""A market goes from one connection to its successor without a row lost or doubled.

A connection is replaced while it is up. What its successor says of a market is kept beside the market's own book and
makes no rows, until both books hold the same levels, as of the same venue time or undisturbed for `SETTLED`: from then
on the successor feeds the market, and what the former still says was told already. A market of a connection that
ends before is taken up as the successor knows it. Only a connection that was opened later follows another.
"""

from typing import Final

import msgspec

from lake.clock import SECOND_US

SETTLED: Final = SECOND_US
"""Two equal books of which nothing was said for so long are of the same instant, whatever times they carry."""

SILENT: Final = 30 * SECOND_US
"""A connection that was not heard for so long, and whose end nobody told, has ended."""

Levels = dict[int, int]
"""Price to size."""


class Second(msgspec.Struct):
    """A market's book as the successor tells it."""

    connection: str
    bids: Levels = {}
    asks: Levels = {}
    is_whole: bool = False
    event: int = 0  # of its newest change
    changed: int = 0  # by our clock, when either of both books changed last

    def change(self, levels: list[tuple[bool, int, int]], event: int, *, is_delta: bool) -> None:
        """Apply level changes, where there is a book that they can apply to."""
        if not self.is_whole:
            return
        for is_bid, price, given in levels:
            side = self.bids if is_bid else self.asks
            size = side.get(price, 0) + given if is_delta else given
            if size > 0:
                side[price] = size
            else:
                side.pop(price, None)
        self.event = event

    def reset(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]], event: int) -> None:
        """Take a whole book."""
        self.bids = {price: size for price, size in bids if size}
        self.asks = {price: size for price, size in asks if size}
        self.is_whole, self.event = True, event


class HandoverState(msgspec.Struct):
    """A `Handover`, to be kept."""

    opened: dict[str, int]
    count: int
    seconds: dict[int, Second]


class Handover:
    """Which connections are open, in what order they were opened, and what successors tell."""

    def __init__(self) -> None:
        self.seconds: dict[int, Second] = {}  # by market
        self._opened: dict[str, int] = {}
        self._count = 0

    def state(self) -> HandoverState:
        """All of it, for `restore`."""
        return HandoverState(self._opened, self._count, self.seconds)

    def restore(self, state: HandoverState) -> None:
        """Go on from there."""
        self._opened, self._count, self.seconds = state.opened, state.count, state.seconds

    def open(self, connection: str) -> None:
        """It was opened now, the latest of all."""
        self._count += 1
        self._opened[connection] = self._count

    def close(self, connection: str) -> None:
        """It has ended, and what it told beside others goes with it."""
        self._opened.pop(connection, None)
        for market in [market for market, second in self.seconds.items() if second.connection == connection]:
            del self.seconds[market]

    def is_open(self, connection: str) -> bool:
        """Whether it was opened, and its end was not told."""
        return connection in self._opened

    def second(self, market: int, former: str, connection: str) -> Second | None:
        """The book of `connection` beside that of `former`; None if it is no successor: what it says was told."""
        if self._opened.get(connection, 0) < self._opened[former]:
            return None
        found = self.seconds.get(market)
        if found is None or found.connection != connection:
            found = self.seconds[market] = Second(connection)
        return found

    def drop(self, market: int, connection: str | None = None) -> None:
        """Forget what is told of it beside, by that connection or any."""
        found = self.seconds.get(market)
        if found is not None and connection in (None, found.connection):
            del self.seconds[market]

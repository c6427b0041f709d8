"""What is not being seen, from the last good frame to the first good state."""

from typing import NamedTuple

import msgspec

from lake.vocab import Gap

GapRow = tuple[str, int, int, int | None, int, str, bool]
"""A row of `schema.GAPS` without its seq, times in microseconds."""


class Open(NamedTuple):
    """A gap that has not ended."""

    connection: str
    start: int
    reason: Gap


class GapsState(msgspec.Struct):
    """`Gaps`, to be kept."""

    open: dict[int, Open]
    unsaid: set[int]


class Gaps:
    """Open gaps by market; `rows` are those to be written."""

    def __init__(self) -> None:
        self._open: dict[int, Open] = {}
        self._unsaid: set[int] = set()  # open, and not yet written
        self.rows: list[GapRow] = []

    def state(self) -> GapsState:
        """What is open, for `restore`."""
        return GapsState(self._open, self._unsaid)

    def restore(self, state: GapsState) -> None:
        """Go on from there."""
        self._open, self._unsaid = state.open, state.unsaid

    def open(self, market: int, connection: str, start: int, reason: Gap) -> None:
        """From `start` the market is unknown; an open gap of before stays as it is."""
        if market not in self._open:
            self._open[market] = Open(connection, start, reason)
            self._unsaid.add(market)

    def announce(self, before: int, detected: int) -> None:
        """Write those that have lasted since `before`, without an end: the row with the end stands for them later."""
        for market in [market for market in self._unsaid if self._open[market].start <= before]:
            self._say(market, detected)

    def close(self, market: int, end: int, detected: int) -> None:
        """The market is known again from `end` on."""
        gap = self._open.pop(market, None)
        if gap is not None:
            self._unsaid.discard(market)
            self.record(market, gap.connection, min(gap.start, end), end, detected, gap.reason)

    def start_of(self, market: int) -> int:
        """When the market's open gap started; 0 if it has none."""
        gap = self._open.get(market)
        return 0 if gap is None else gap.start

    def record(self, market: int, connection: str, start: int, end: int | None, detected: int, reason: Gap) -> None:
        """Write a gap down."""
        self.rows.append((connection, market, start, end, detected, reason.value, False))

    def finish(self, detected: int) -> None:
        """Write those that are still open, without an end: they last until the market's next quote."""
        for market in [market for market in self._open if market in self._unsaid]:
            self._say(market, detected)
        self._open.clear()

    def _say(self, market: int, detected: int) -> None:
        gap = self._open[market]
        self._unsaid.discard(market)
        self.record(market, gap.connection, gap.start, None, detected, gap.reason)

    def __contains__(self, market: int) -> bool:
        return market in self._open

    def take(self) -> list[GapRow]:
        """The rows so far; they are the caller's now."""
        rows, self.rows = self.rows, []
        return rows

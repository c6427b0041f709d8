"""Asked for is not told of: markets of which a stream brings no whole book are asked for again, then elsewhere.

A venue may lose a part of a subscription without a word, or take no more on a connection than it likes.
"""

from collections.abc import Collection, Iterable
from typing import Final

SECOND_TRIES: Final = 2
"""How often a market is asked for again on the same connection before another one is tried."""

LONGEST: Final = 600.0  # seconds between two tries of a market


class Reconciler:
    """Remembers what was missing, so that a market that has no book is not asked for without end."""

    def __init__(self, every: float) -> None:
        """`every` is the least time between two tries of a market, seconds."""
        self._every = every
        self._tries: dict[int, tuple[int, float]] = {}  # market to tries, and when the next one is due

    def due(self, missing: Collection[int], now: float) -> dict[int, int]:
        """Of these markets those that are to be asked for now, with how often they were before.

        What is told of again is forgotten. `now` is in seconds of a clock that nobody sets.
        """
        for market in self._tries.keys() - set(missing):
            del self._tries[market]
        found = {}
        for market in missing:
            tries, at = self._tries.get(market, (0, now))
            if at <= now:
                found[market] = tries
                self._tries[market] = (tries + 1, now + min(LONGEST, self._every * 2**tries))
        return found


def missing(wanted: Iterable[int], told: Collection[int]) -> list[int]:
    """The markets that were asked for, and are not told of."""
    return [market for market in wanted if market not in told]

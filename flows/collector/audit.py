"""What a stream says is held against what REST says, in rotation: a single market may stand still while others flow.

Nothing is decided here: the answers go through the intake as frames of the venue's audit, and the pipeline compares
(`Books.is_frozen`). Markets whose books moved lately are asked for in each round, the rest by and by.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from flows.collector.connection import Link
from flows.collector.rounds import Poll, Rounds
from flows.collector.universe import Listed
from lake.clock import MINUTE_US

LIVELY_US: Final = 10 * MINUTE_US
"""A market whose book changed within this is asked for in each round."""

RATE: Final = 2.0
"""Requests a second, of 20 and 50 that the venues allow; polls and histories have theirs beside."""

BATCH: Final = 100
"""Markets in a request, at least."""

Ask = Callable[[Iterable[Listed]], Iterable[Poll]]


class Audit:
    """One venue's rounds. `ask` makes the requests for markets; `followed` gives those that a stream brings."""

    def __init__(self, name: str, ask: Ask, followed: Callable[[], list[Listed]], link: Link) -> None:
        self._ask = ask
        self._followed = followed
        self._link = link
        self._place = 0  # of the quiet ones
        self._rounds = Rounds(name, name, link)

    async def run(self, changed: Callable[[int], int | None]) -> None:
        """Ask for ever; `changed` tells when a market's book changed last, microseconds, None = it has none."""
        now, every = self._link.clock.monotonic, self._link.timing.audit_every
        spent = 0.0
        while True:
            await asyncio.sleep(max(every - spent, every / 10))
            began = now()
            await self._rounds.ask(self._ask(self.chosen(changed, self._link.clock.wall(), every)), 1 / RATE)
            spent = now() - began

    def chosen(self, changed: Callable[[int], int | None], wall: int, seconds: float) -> list[Listed]:
        """The lively markets, and as many of the others as there is room for in a round of so many seconds."""
        followed = self._followed()
        room = max(BATCH, round(RATE * seconds) * BATCH)
        lively = [one for one in followed if (changed(one.market) or 0) > wall - LIVELY_US][:room]
        names = {one.market for one in lively}
        quiet = [one for one in followed if one.market not in names]
        count = min(len(quiet), room - len(lively))
        turned = quiet[self._place % max(1, len(quiet)) :] + quiet[: self._place % max(1, len(quiet))]
        self._place += count
        return [*lively, *turned[:count]]

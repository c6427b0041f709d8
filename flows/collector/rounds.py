"""A round of requests to a venue: each answer becomes a frame of one connection, and what fails stops no other."""

import asyncio
from collections.abc import Awaitable, Iterable

from flows.collector.connection import Link, is_worth_a_word
from flows.collector.http import VenueError
from flows.venues.base import Wire

Poll = tuple[Wire, Awaitable[bytes]]
"""A request and what its answer is. Awaiting it raises `VenueError`."""


class Rounds:
    """The rounds of the connection of that name; `title` begins the line that tells of failures, now and then."""

    def __init__(self, connection: str, title: str, link: Link) -> None:
        self._connection = connection
        self._title = title
        self._link = link
        self._failed = 0  # rounds in a row in which an answer failed

    async def ask(self, polls: Iterable[Poll], pause: float = 0.0) -> None:
        """Send each request when it is its turn, `pause` seconds after the one before at the earliest."""
        error: VenueError | None = None
        now = self._link.clock.monotonic
        for wire, answer in polls:
            until = now() + pause
            try:
                payload = await answer
            except VenueError as exc:
                error = error or exc
            else:
                await self._link.intake.room()
                self._link.intake.frame(self._connection, wire, payload)
            if pause:
                await asyncio.sleep(max(0.0, until - now()))
        self._failed = 0 if error is None else self._failed + 1
        if error is not None and is_worth_a_word(self._failed):
            self._link.say(f"{self._title}: {error}")

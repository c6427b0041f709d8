"""A venue's own figures of what is followed, asked for again and again: volumes, open interest, liquidity.

The busiest markets are asked for every round, of a minute, and a fifth of the others, so each is at least every five.
The requests of a round are spread over it, and take at most a share of what the catalogue's client may ask, so that it
and the history have room. The answers go through the intake like any frame, by a connection that makes no quotes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Final

from flows.collector.batches import batched
from flows.collector.catalog import rate_of
from flows.collector.connection import Link
from flows.collector.http import Http
from flows.collector.making import figures_name
from flows.collector.rounds import Rounds
from flows.collector.timing import MINUTE
from flows.collector.universe import Listed
from flows.venues.base import Wire
from lake.vocab import Venue

BUSY: Final = 500
"""Markets that are asked for every round, the most traded ones."""

ROUNDS: Final = 5
"""In which all others are asked for."""

CONDITIONS: Final = 75
"""In one request to Polymarket: a hundred are allowed, and make an address of more than 8 KiB, which servers refuse."""

TICKERS: Final = 100
"""In one request to Kalshi."""

SHARE: Final = 1 / 3
"""Of the client's rate, which is at most half of what the venue allows."""


Ask = Callable[[], Awaitable[bytes]]
"""A request, sent when it is called and awaited. Raises `VenueError`."""


def due(followed: Sequence[Listed], number: int) -> list[Listed]:
    """What round `number` asks for, of markets of which the most traded come first."""
    return [*followed[:BUSY], *(one for one in followed[BUSY:] if one.market % ROUNDS == number % ROUNDS)]


class Figures:
    """The figures of one venue's markets; a round takes at least `every` seconds."""

    def __init__(self, venue: Venue, http: Http, link: Link, *, every: float = MINUTE) -> None:
        self._venue = venue
        self._http = http
        self._link = link
        self._every = every
        self._rounds = Rounds(figures_name(venue), f"{venue.value}: figures", link)
        self._is_late = False

    async def run(self, followed: Callable[[], Iterable[Listed]]) -> None:
        """Ask for what is `followed`, until cancelled. The first round waits: the catalogue has just told."""
        await asyncio.sleep(self._every)
        for number in count():
            await self._round(list(self._requests(due(list(followed()), number))))

    async def _round(self, requests: list[tuple[Wire, Ask]]) -> None:
        """Each request in its turn, spread over the round."""
        if not requests:
            await asyncio.sleep(self._every)
            return
        pause = max(self._every / len(requests), 1 / (SHARE * rate_of(self._venue)))
        self._tell_late(pause * len(requests))
        await self._rounds.ask(((wire, ask()) for wire, ask in requests), pause)

    def _requests(self, markets: list[Listed]) -> Iterator[tuple[Wire, Ask]]:
        names = (one.native_id for one in markets)
        if self._venue is Venue.POLYMARKET:
            for batch in batched(names, CONDITIONS):
                yield Wire.GAMMA, self._ask({"condition_ids": list(batch), "limit": CONDITIONS})
            return
        for batch in batched(names, TICKERS):
            yield Wire.KALSHI_REST, self._ask({"tickers": ",".join(batch), "limit": TICKERS})

    def _ask(self, params: dict[str, object]) -> Ask:
        return lambda: self._http.get("/markets", params)

    def _tell_late(self, seconds: float) -> None:
        """Say once that there are more markets than can be asked for in time."""
        if seconds > 2 * self._every and not self._is_late:
            self._is_late = True
            told = f"each market's are asked for every {seconds * ROUNDS / MINUTE:.0f} min, as there are so many"
            self._link.say(f"{self._venue.value}: figures: {told}")

"""What became of markets, asked for by name: the truth about closed, proposed, disputed and resolved ones.

A stream's word of a resolution is fast, and sometimes never comes (Polymarket/rs-clob-client#226). Polymarket leaves
closed markets out of an answer unless they are asked for, and what its catalogue does not know at all its order book
may. Source: polymarket.md 6.4, kalshi.md 2.3.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from flows.collector.batches import batched
from flows.collector.catalog import NAMED
from flows.collector.http import Http, Refused, Unreachable, VenueError
from flows.venues.base import Wire
from lake.vocab import Venue

TICKERS: Final = 100
"""Tickers in one request to Kalshi."""

LAST_RESORTS: Final = 10
"""Markets in a round that are asked for one by one."""


class _Market(msgspec.Struct, gc=False):
    ticker: str | None = None
    condition_id: str | None = msgspec.field(default=None, name="conditionId")


class _Answer(msgspec.Struct, gc=False):
    markets: list[_Market] | None = None


_LIST: Final = msgspec.json.Decoder(list[_Market])
_ANSWER: Final = msgspec.json.Decoder(_Answer)


@dataclass(slots=True)
class Swept:
    """What a round brought: native ids that were asked for, and those among them that were told of."""

    asked: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    requests: int = 0
    fault: VenueError | None = None  # the first one; the rest was asked for nevertheless


class Sweep:
    """Asks one venue about markets. `put` takes the answers.

    `http` has the catalogue; `books` is Polymarket's order book, None on Kalshi.
    """

    def __init__(
        self, venue: Venue, http: Http, books: Http | None, put: Callable[[Wire, bytes], Awaitable[None]]
    ) -> None:
        self._venue = venue
        self._http = http
        self._books = books
        self._put = put

    @property
    def size(self) -> int:
        """Markets in one request."""
        return TICKERS if self._venue is Venue.KALSHI else NAMED

    async def ask(self, native_ids: Iterable[str]) -> Swept:
        """Ask about these. Faults are in the report; a venue that does not answer is not asked on in this round."""
        found = Swept()
        for batch in batched(native_ids, self.size):
            found.asked.update(batch)
            try:
                async for wire, answer in self._answers(batch, found):
                    await self._put(wire, answer)
            except VenueError as exc:
                found.fault = found.fault or exc
                if isinstance(exc, Unreachable):
                    return found
        if self._books is not None and found.fault is None:
            await self._last_resort(sorted(found.asked - found.told)[:LAST_RESORTS], self._books, found)
        return found

    async def _answers(self, batch: list[str], found: Swept) -> AsyncIterator[tuple[Wire, bytes]]:
        if self._venue is Venue.KALSHI:
            found.requests += 1
            answer = await self._http.get("/markets", {"tickers": ",".join(batch), "limit": TICKERS})
            found.told |= _named(answer) & found.asked
            yield Wire.KALSHI_REST, answer
            return
        for is_closed in ("false", "true"):
            left = [one for one in batch if one not in found.told]
            if left:
                found.requests += 1
                asked = {"condition_ids": left, "closed": is_closed, "limit": NAMED}
                answer = await self._http.get("/markets", asked)
                found.told |= _named(answer) & found.asked
                yield Wire.GAMMA, answer

    async def _last_resort(self, native_ids: Iterable[str], books: Http, found: Swept) -> None:
        for one in native_ids:
            found.requests += 1
            try:
                await self._put(Wire.CLOB_MARKET, await books.get(f"/markets/{one}"))
                found.told.add(one)
            except Refused:
                continue  # it knows nothing of it either
            except VenueError as exc:
                found.fault = found.fault or exc
                return


def _named(answer: bytes) -> set[str]:
    """The markets of an answer; none if it cannot be read, which the adapter makes a dead letter of."""
    try:
        found = _LIST.decode(answer) if answer.lstrip()[:1] == b"[" else _ANSWER.decode(answer).markets or []
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return set()
    return {name for each in found if (name := each.ticker or each.condition_id)}

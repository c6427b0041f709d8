"""The first pages of a venue's catalogue: enough of it to choose some markets, at once instead of in minutes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final

import msgspec

from flows.collector.batches import batched
from flows.collector.catalog import GAMMA_PAGE, KALSHI_PAGE
from flows.collector.figures import CONDITIONS, TICKERS
from flows.collector.http import Http
from flows.venues.base import Wire
from lake.vocab import Venue

MOST_PAGES: Final = 10

Page = tuple[Wire, str, bytes]
"""What the answer is, the path that was asked, the answer."""


def first_pages(
    http: Http, venue: Venue, ids: Collection[str], is_enough: Callable[[], Awaitable[bool]]
) -> AsyncIterator[Page]:
    """The markets of these native ids, and pages until it `is_enough`, asked after each: one at least.

    `http` is at the venue's catalogue. Polymarket's are the most traded first. Raises `VenueError`.
    """
    names = sorted(ids)
    return _gamma(http, names, is_enough) if venue is Venue.POLYMARKET else _kalshi(http, names, is_enough)


async def _gamma(http: Http, ids: list[str], is_enough: Callable[[], Awaitable[bool]]) -> AsyncIterator[Page]:
    for batch in batched((name for name in ids if name.startswith("0x")), CONDITIONS):
        yield Wire.GAMMA, "/markets", await http.get("/markets", {"condition_ids": batch, "limit": CONDITIONS})
    page = {"closed": "false", "limit": GAMMA_PAGE}
    busiest = page | {"order": "volume24hr", "ascending": "false"}
    async for answer in _until(http, "/markets/keyset", busiest, "after_cursor", is_enough):
        yield Wire.GAMMA, "/markets/keyset", answer
    yield Wire.GAMMA, "/events/keyset", await http.get("/events/keyset", page)


async def _kalshi(http: Http, ids: list[str], is_enough: Callable[[], Awaitable[bool]]) -> AsyncIterator[Page]:
    yield Wire.KALSHI_REST, "/series", await http.get("/series")
    for batch in batched((name for name in ids if not name.startswith("0x")), TICKERS):
        yield Wire.KALSHI_REST, "/markets", await http.get("/markets", {"tickers": ",".join(batch), "limit": TICKERS})
    page = {"with_nested_markets": "true", "status": "open", "limit": KALSHI_PAGE}
    async for answer in _until(http, "/events", page, "cursor", is_enough):
        yield Wire.KALSHI_REST, "/events", answer


async def _until(
    http: Http, path: str, params: dict[str, Any], name: str, is_enough: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    for _ in range(MOST_PAGES):
        answer = await http.get(path, params)
        yield answer
        cursor = _cursor(answer)
        if not cursor or await is_enough():
            return
        params = params | {name: cursor}


class _Cursor(msgspec.Struct, gc=False):
    next_cursor: str | None = None
    cursor: str | None = None


def _cursor(page: bytes) -> str | None:
    """Where the next page begins; None at the end, and of a page that cannot be read."""
    try:
        found = msgspec.json.decode(page, type=_Cursor)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found.next_cursor or found.cursor

"""A venue's catalogue, page by page, as frames: of the collector at its start, and of the scheduled job.

Paging ends at the venue's end mark. A cursor that repeats, or a page that repeats, is an error and no endless loop.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from flows.collector.http import Http, TooLarge, VenueError
from flows.venues.base import Wire
from lake.vocab import Venue

GAMMA_PAGE: Final = 100
KALSHI_PAGE: Final = 200
MOST_PAGES: Final = 10_000

GAMMA_RATE: Final = 15.0
KALSHI_RATE: Final = 10.0
"""Requests a second: well below what the venues allow (50 on Gamma's events, 20 on Kalshi's basic tier)."""


class _Cursor(msgspec.Struct, gc=False):
    next_cursor: str | None = None
    cursor: str | None = None


_CURSOR: Final = msgspec.json.Decoder(_Cursor)


class BadPaging(VenueError):
    """The venue's pages lead nowhere."""


def rate_of(venue: Venue) -> float:
    """Requests a second to the venue's catalogue."""
    return GAMMA_RATE if venue is Venue.POLYMARKET else KALSHI_RATE


def pages(http: Http, venue: Venue) -> AsyncIterator[tuple[Wire, bytes]]:
    """All open markets of the venue with their events: answers, each with its wire, in the order to be read.

    `http` is at `polymarket_gamma_url` or `kalshi_api_url`. Raises `VenueError`: what was yielded stands.
    """
    return _gamma(http) if venue is Venue.POLYMARKET else _kalshi(http)


async def _gamma(http: Http) -> AsyncIterator[tuple[Wire, bytes]]:
    params: dict[str, str | int] = {"closed": "false", "limit": GAMMA_PAGE}
    async for page in _paged(http, "/events/keyset", params, "after_cursor"):
        yield Wire.GAMMA, page


async def _kalshi(http: Http) -> AsyncIterator[tuple[Wire, bytes]]:
    """The series come first: they hold the categories of the events."""
    yield Wire.KALSHI_REST, await http.get("/series")
    params: dict[str, str | int] = {"with_nested_markets": "true", "status": "open", "limit": KALSHI_PAGE}
    async for page in _paged(http, "/events", params, "cursor"):
        yield Wire.KALSHI_REST, page


async def _paged(http: Http, path: str, params: dict[str, str | int], name: str) -> AsyncIterator[bytes]:
    """Every page; `name` is the parameter that takes the answer's cursor. Pages that are too large are halved."""
    seen: set[str] = set()
    last = b""
    for _ in range(MOST_PAGES):
        try:
            page = await http.get(path, params)
        except TooLarge:
            if int(params["limit"]) == 1:
                raise
            params = {**params, "limit": int(params["limit"]) // 2}
            continue
        cursor = _next(page, path)
        if page == last:
            raise BadPaging(f"{path}: the same page came twice")
        yield page
        if not cursor:
            return
        if cursor in seen:
            raise BadPaging(f"{path}: the cursor of a page leads back to an earlier one")
        seen.add(cursor)
        params, last = {**params, name: cursor}, page
    raise BadPaging(f"{path}: more than {MOST_PAGES} pages")


def _next(page: bytes, path: str) -> str | None:
    try:
        found = _CURSOR.decode(page)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadPaging(f"{path}: a page is no JSON object with a cursor") from None
    return found.next_cursor or found.cursor

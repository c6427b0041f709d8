"""A venue's catalogue as requests: all of it page by page, the most traded part of it, and what changed since.

Paging ends at the venue's end mark. A cursor that repeats, or a page that repeats, is an error and no endless loop. The
venues' own filters and orders are not believed: what they gave is looked at, and an answer that does not keep to what
was asked for is `Untrusted`, which a walk of everything makes up for.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from flows.collector.batches import batched
from flows.collector.http import Http, Refused, TooLarge, VenueError
from flows.collector.places import Place
from flows.collector.timing import Clock
from flows.venues.base import Wire
from flows.venues.fields import instant
from lake.clock import MINUTE_US, SECOND_US
from lake.errors import BadFrame
from lake.vocab import Venue, market_id, market_key

GAMMA_PAGE: Final = 100
KALSHI_PAGE: Final = 200
KALSHI_CHANGES: Final = 1_000
MOST_PAGES: Final = 10_000
MOST_CHANGES: Final = 50
"""Pages of one kind of change; more is what a walk of everything is for."""

GAMMA_RATE: Final = 9.0
KALSHI_RATE: Final = 6.0
"""Requests a second: 30 % of what Gamma allows for markets (30), less of events (50); 30 % of Kalshi's basic tier."""

MARGIN_US: Final = 2 * MINUTE_US
"""Changes are asked for since so much earlier: the venue's clock is not ours, and its indices are late."""

NAMED: Final = 50
"""Ids in one request to Gamma: an id has 66 characters, and addresses of 8 KiB are refused."""


class _Cursor(msgspec.Struct, gc=False):
    next_cursor: str | None = None
    cursor: str | None = None


class _Event(msgspec.Struct, rename="camel", gc=False):
    id: str | int | None = None
    volume24hr: float | None = None
    markets: "list[_Market] | None" = None
    event_ticker: str | None = msgspec.field(default=None, name="event_ticker")
    series_ticker: str | None = msgspec.field(default=None, name="series_ticker")


class _Market(msgspec.Struct, rename="camel", gc=False):
    """What a page is counted and checked by, of either venue."""

    id: str | int | None = None
    condition_id: str | None = None
    closed_time: str | None = None
    uma_resolution_status: str | None = None
    events: list[_Event] | None = None
    ticker: str | None = None
    event_ticker: str | None = msgspec.field(default=None, name="event_ticker")
    updated_time: str | None = msgspec.field(default=None, name="updated_time")


class _Page(msgspec.Struct, gc=False):
    events: list[_Event] | None = None
    markets: list[_Market] | None = None


class _Series(msgspec.Struct, gc=False):
    ticker: str


class _Categories(msgspec.Struct, gc=False):
    tags_by_categories: dict[str, msgspec.Raw]


class _SeriesPage(msgspec.Struct, gc=False):
    series: list[_Series] | None = None


_CURSOR: Final = msgspec.json.Decoder(_Cursor)
_PAGE: Final = msgspec.json.Decoder(_Page)
_SERIES: Final = msgspec.json.Decoder(_SeriesPage)
_CATEGORIES: Final = msgspec.json.Decoder(_Categories)
_BAD: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


class BadPaging(VenueError):
    """The venue's pages lead nowhere."""


class Untrusted(VenueError):
    """The venue did not keep to the filter or the order that it was asked for."""


class Page(NamedTuple):
    """An answer, and the markets that it names."""

    wire: Wire
    payload: bytes
    markets: tuple[int, ...] = ()
    is_change: bool = False  # it tells of what changed, and not of everything


def rate_of(venue: Venue) -> float:
    """Requests a second to the venue's catalogue."""
    return GAMMA_RATE if venue is Venue.POLYMARKET else KALSHI_RATE


class Catalog:
    """One venue's catalogue. `http` is at `polymarket_gamma_url` or `kalshi_api_url`; everything raises `VenueError`.

    `knows_event` says whether an event, by the id of table `events`, has been described.
    """

    def __init__(self, http: Http, venue: Venue, clock: Clock, knows_event: Callable[[str], bool]) -> None:
        self._http = http
        self._venue = venue
        self._clock = clock
        self._knows_event = knows_event
        self._series: set[str] = set()  # of Kalshi, those described in this life

    async def walk(self, place: Place) -> AsyncIterator[Page]:
        """All open markets with their events from `place` on, which moves past a page once the next is asked for."""
        if self._venue is Venue.KALSHI:
            async for series in self._all_series():
                yield series
            path, name, params = "/events", "cursor", _KALSHI_OPEN
        else:
            path, name, params = "/events/keyset", "after_cursor", _GAMMA_OPEN
        if place.cursor:
            params = {**params, name: place.cursor}
        async for raw, cursor in _paged(self._http, path, params, name):
            page = self._page(raw)
            place.newest = max(place.newest, _newest(page))
            found = self._keys(page)
            yield Page(self._wire, raw, found)
            place.cursor, place.at = cursor or "", self._clock.wall()
            place.pages, place.markets = place.pages + 1, place.markets + len(found)

    async def leaders(self, most: int) -> AsyncIterator[Page]:
        """The most traded open markets, about `most`, busiest events first; nothing on Kalshi, which cannot sort."""
        if self._venue is Venue.KALSHI:
            return
        count, last = 0, float("inf")
        params = {**_GAMMA_OPEN, "order": "volume24hr", "ascending": "false"}
        async for raw, _ in _paged(self._http, "/events/keyset", params, "after_cursor"):
            page = self._page(raw)
            volumes = [each.volume24hr or 0.0 for each in page.events or ()]
            if any(later > former for former, later in pairwise([last, *volumes])):
                raise Untrusted("/events/keyset: order=volume24hr is not kept to")
            found = self._keys(page)
            yield Page(self._wire, raw, found)
            count, last = count + len(found), volumes[-1] if volumes else 0.0
            if count >= most or not last:
                return

    async def changes(self, place: Place) -> AsyncIterator[Page]:
        """What is new, has other terms, was closed or resolved since `place.changed`, which is left alone.

        `place.newest` moves. Each kind of change is asked for; then the first `Untrusted` among them is raised.
        """
        since = place.changed - MARGIN_US
        if self._venue is Venue.KALSHI:
            kinds = {"changed markets": self._updated(since)}
        else:
            kinds = {"new markets": self._listed(place), "closed markets": self._closed(since)}
            kinds |= {f"{status} markets": self._pending(status) for status in ("proposed", "disputed")}
        fault: Untrusted | None = None
        for what, kind in kinds.items():
            try:
                async for page in kind:
                    yield page._replace(is_change=True)
            except (Untrusted, Refused, BadPaging) as exc:
                fault = fault or Untrusted(f"{what}: {exc}")
        if fault is not None:
            raise fault

    # --- Polymarket ------------------------------------------------------------------------------

    async def _listed(self, place: Place) -> AsyncIterator[Page]:
        """Markets of a larger number than any before, by their events, for these have the tags."""
        known, last, events = place.newest, float("inf"), dict[str, None]()
        params: dict[str, Any] = {"closed": "false", "limit": GAMMA_PAGE, "order": "id", "ascending": "false"}
        async for raw, _ in _paged(self._http, "/markets/keyset", params, "after_cursor", MOST_CHANGES):
            found = self._page(raw).markets or []
            numbers = [_number(each) for each in found]
            if any(later > former for former, later in pairwise([last, *numbers])):
                raise Untrusted("/markets/keyset: order=id is not kept to")
            for each, number in zip(found, numbers, strict=True):
                if number > known:
                    events.update((str(event.id), None) for event in each.events or () if event.id is not None)
                    place.newest = max(place.newest, number)
            last = numbers[-1] if numbers else 0
            if last <= known:
                break
        for batch in batched(events, NAMED):
            asked = {"id": batch, "closed": "false", "limit": GAMMA_PAGE}
            async for raw, _ in _paged(self._http, "/events/keyset", asked, "after_cursor"):
                yield Page(Wire.GAMMA, raw, self._keys(self._page(raw)))

    async def _closed(self, since: int) -> AsyncIterator[Page]:
        """Markets that were closed since; the venue leaves closed ones out unless it is asked for them."""
        last = float("inf")
        params = {"closed": "true", "limit": GAMMA_PAGE, "order": "closedTime", "ascending": "false"}
        async for raw, _ in _paged(self._http, "/markets/keyset", params, "after_cursor", MOST_CHANGES):
            page = self._page(raw)
            times = [_time(each.closed_time) or 0 for each in page.markets or ()]
            if any(later > former for former, later in pairwise([last, *times])):
                raise Untrusted("/markets/keyset: order=closedTime is not kept to")
            yield Page(Wire.GAMMA, raw, self._keys(page))
            last = times[-1] if times else 0
            if last < since:
                return

    async def _pending(self, status: str) -> AsyncIterator[Page]:
        """Markets whose result is proposed, or disputed."""
        params = {"closed": "false", "limit": GAMMA_PAGE, "uma_resolution_status": status}
        async for raw, _ in _paged(self._http, "/markets/keyset", params, "after_cursor", MOST_CHANGES):
            page = self._page(raw)
            if any(each.uma_resolution_status != status for each in page.markets or ()):
                raise Untrusted("/markets/keyset: uma_resolution_status is not kept to")
            yield Page(Wire.GAMMA, raw, self._keys(page))

    # --- Kalshi ----------------------------------------------------------------------------------

    async def _all_series(self) -> AsyncIterator[Page]:
        """The series, which hold the categories of the events: in one answer, or where that is too large one each."""
        try:
            yield self._of_series(await self._http.get("/series"))
            return
        except TooLarge:
            raw = await self._http.get("/search/tags_by_categories")
        try:
            categories = _CATEGORIES.decode(raw).tags_by_categories
        except _BAD:
            raise BadPaging("/search/tags_by_categories: is no JSON object with categories") from None
        for category in categories:
            with suppress(TooLarge, Refused):  # its events have a category of their own, if an older one
                yield self._of_series(await self._http.get("/series", {"category": category}))

    def _of_series(self, raw: bytes) -> Page:
        try:
            self._series.update(each.ticker for each in _SERIES.decode(raw).series or ())
        except _BAD:
            raise BadPaging("/series: is no JSON object with series") from None
        return Page(Wire.KALSHI_REST, raw)

    async def _updated(self, since: int) -> AsyncIterator[Page]:
        """Markets whose terms or state changed; events and series that nobody described come before theirs."""
        params = {"min_updated_ts": since // SECOND_US, "mve_filter": "exclude", "limit": KALSHI_CHANGES}
        async for raw, _ in _paged(self._http, "/markets", params, "cursor", MOST_CHANGES):
            page = self._page(raw)
            times = [_time(each.updated_time) for each in page.markets or ()]
            if any(at is not None and at < since - SECOND_US for at in times):
                raise Untrusted("/markets: min_updated_ts is not kept to")
            events = dict.fromkeys(each.event_ticker for each in page.markets or () if each.event_ticker)
            new = [each for each in events if not self._knows_event(f"{Venue.KALSHI.value}:{each}")]
            for batch in batched(new, NAMED):
                async for page_of_events in self._families(batch):
                    yield page_of_events
            yield Page(Wire.KALSHI_REST, raw, self._keys(page))

    async def _families(self, tickers: Iterable[str]) -> AsyncIterator[Page]:
        """Events by name, after their series."""
        asked = {"tickers": ",".join(tickers), "limit": KALSHI_PAGE}
        async for raw, _ in _paged(self._http, "/events", asked, "cursor"):
            named = {each.series_ticker for each in self._page(raw).events or () if each.series_ticker}
            for series in sorted(named - self._series):
                self._series.add(series)
                try:
                    yield Page(Wire.KALSHI_REST, await self._http.get(f"/series/{series}"))
                except Refused:
                    continue  # one that the venue does not tell of costs its events the category
            yield Page(Wire.KALSHI_REST, raw)

    # --- pages -----------------------------------------------------------------------------------

    @property
    def _wire(self) -> Wire:
        return Wire.GAMMA_PAGES if self._venue is Venue.POLYMARKET else Wire.KALSHI_REST

    def _page(self, raw: bytes) -> _Page:
        try:
            return _PAGE.decode(raw)
        except _BAD:
            return _Page()  # nothing can be said of it; the adapter makes dead letters of what is unreadable

    def _keys(self, page: _Page) -> tuple[int, ...]:
        """The markets of a page."""
        nested = (market for event in page.events or () for market in event.markets or ())
        names = (each.ticker or each.condition_id for each in (*nested, *(page.markets or ())))
        return tuple(market_key(market_id(self._venue, name)) for name in names if name)


_GAMMA_OPEN: Final[dict[str, Any]] = {"closed": "false", "limit": GAMMA_PAGE}
_KALSHI_OPEN: Final[dict[str, Any]] = {"with_nested_markets": "true", "status": "open", "limit": KALSHI_PAGE}


async def _paged(
    http: Http, path: str, params: dict[str, Any], name: str, most: int = MOST_PAGES
) -> AsyncIterator[tuple[bytes, str | None]]:
    """Every page, and the cursor of the next; `name` is the parameter that takes it. Pages too large are halved."""
    seen: set[str] = set()
    last = b""
    for _ in range(most):
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
        yield page, cursor
        if not cursor:
            return
        if cursor in seen:
            raise BadPaging(f"{path}: the cursor of a page leads back to an earlier one")
        seen.add(cursor)
        params, last = {**params, name: cursor}, page
    raise BadPaging(f"{path}: more than {most:,} pages")


def _next(page: bytes, path: str) -> str | None:
    try:
        found = _CURSOR.decode(page)
    except _BAD:
        raise BadPaging(f"{path}: a page is no JSON object with a cursor") from None
    return found.next_cursor or found.cursor


def _newest(page: _Page) -> int:
    return max((_number(market) for event in page.events or () for market in event.markets or ()), default=0)


def _number(market: _Market) -> int:
    """A market's number on Gamma; 0 where it has none."""
    text = str(market.id or "")
    return int(text) if text.isdecimal() and len(text) < 16 else 0


def _time(text: str | None) -> int | None:
    """A venue's time, microseconds; None where it cannot be read."""
    try:
        return instant(text)
    except BadFrame:
        return None

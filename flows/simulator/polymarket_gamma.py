"""Polymarket's catalogue: events and markets in pages by offset or by cursor, single ones, tags, series, search.

Two habits of the venue are kept: the cursor has to come back as `after_cursor`, any other name is ignored; and a page
holds at most 100. Source: Gamma API.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from flows.simulator.base import Event, Market
from flows.simulator.listing import Listing, members
from flows.simulator.polymarket_frames import tags
from flows.simulator.polymarket_objects import event, is_closed, market, middle, series, slug_of, tag
from flows.simulator.rest import Refused, get, several, truth, whole, window
from flows.simulator.stream import Tally
from flows.simulator.wire import cursor_of, place_of
from lake.clock import parse_time, to_us

PAGE: Final = 100
Members = tuple[Event, list[Market]]

MISSING: Final = {"type": "not found error", "error": "id not found"}

_ORDERS: Final[dict[str, Callable[[Listing, Market], float]]] = {
    "id": lambda _, found: found.number,
    "volume24hr": lambda listing, found: listing.world.figures(found, listing.at).volume_24h_usd,
    "volumeNum": lambda listing, found: listing.world.figures(found, listing.at).volume_usd,
    "liquidityNum": lambda listing, found: listing.world.figures(found, listing.at).liquidity_usd,
    "startDate": lambda _, found: found.listed,
    "endDate": lambda _, found: found.close,
    "competitive": lambda listing, found: -abs(middle(listing.book(found)) - 500_000),
}
_ALIASES: Final = {
    "volume_24hr": "volume24hr",
    "volume": "volumeNum",
    "volume_num": "volumeNum",
    "liquidity": "liquidityNum",
    "liquidity_num": "liquidityNum",
    "start_date": "startDate",
    "end_date": "endDate",
    "createdAt": "startDate",
}


class Gamma:
    """The catalogue's routes."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def add_to(self, app: web.Application, prefix: str, tally: Tally) -> None:
        """Every route under the prefix."""
        get(app, f"{prefix}/events", self._event_list, tally)
        get(app, f"{prefix}/events/keyset", self._event_pages, tally)
        get(app, f"{prefix}/events/slug/{{slug}}", lambda asked: self._one_event(asked, "slug"), tally)
        get(app, f"{prefix}/events/{{id}}", lambda asked: self._one_event(asked, "id"), tally)
        get(app, f"{prefix}/events/{{id}}/tags", lambda asked: self._one_event(asked, "id")["tags"], tally)
        get(app, f"{prefix}/markets", self._market_list, tally)
        get(app, f"{prefix}/markets/keyset", self._market_pages, tally)
        get(app, f"{prefix}/markets/slug/{{slug}}", self._market_by_slug, tally)
        get(app, f"{prefix}/markets/{{id}}", lambda asked: market(self._listing, self._market(asked)), tally)
        get(app, f"{prefix}/markets/{{id}}/tags", self._market_tags, tally)
        get(app, f"{prefix}/tags", self._tags, tally)
        get(app, f"{prefix}/tags/slug/{{slug}}", self._tag_by_slug, tally)
        get(app, f"{prefix}/tags/{{id}}", self._tag_by_id, tally)
        get(app, f"{prefix}/series", self._series, tally)
        get(app, f"{prefix}/public-search", self._search, tally)

    # --- events ----------------------------------------------------------------------------------

    def _event_list(self, request: web.Request) -> list[dict[str, Any]]:
        found = _sorted(self._events(request), self._key(request, _of_event))
        limit, offset = whole(request, "limit", 20, 0, 500), whole(request, "offset", 0)
        return [self._event(each) for _, _, each in window(found, offset, limit)]

    def _event_pages(self, request: web.Request) -> dict[str, Any]:
        found, cursor = _page(request, self._events(request), self._key(request, _of_event))
        return {"events": [self._event(each) for each in found]} | cursor

    def _one_event(self, request: web.Request, name: str) -> dict[str, Any]:
        wanted = request.match_info[name]
        for found in members(self._listing.known()).values():
            if wanted == (found[0].native_id if name == "id" else found[0].slug):
                return self._event(found)
        raise Refused(404, MISSING)

    def _asked(self, closed: bool | None) -> list[Market]:
        """The markets among which the open, the closed, or all are."""
        return self._listing.living() if closed is False else self._listing.known()

    def _event(self, found: Members) -> dict[str, Any]:
        return event(self._listing, *found)

    def _events(self, request: web.Request) -> list[Members]:
        at, closed = self._listing.at, truth(request, "closed")
        ids, slugs = several(request, "id"), several(request, "slug")
        return [
            (found, markets)
            for found, markets in members(self._asked(closed)).values()
            if (closed is None or closed is all(is_closed(each, at) for each in markets))
            and (not ids or found.native_id in ids)
            and (not slugs or found.slug in slugs)
            and _is_asked(request, markets)
        ]

    # --- markets ---------------------------------------------------------------------------------

    def _market_list(self, request: web.Request) -> list[dict[str, Any]]:
        found = _sorted(self._markets(request), self._key(request, _of_market))
        limit, offset = whole(request, "limit", 20, 0, 500), whole(request, "offset", 0)
        return [market(self._listing, each) for _, _, each in window(found, offset, limit)]

    def _market_pages(self, request: web.Request) -> dict[str, Any]:
        found, cursor = _page(request, self._markets(request), self._key(request, _of_market))
        return {"markets": [market(self._listing, each) for each in found]} | cursor

    def _markets(self, request: web.Request) -> list[Market]:
        closed = truth(request, "closed") or False  # the venue leaves closed ones out unless asked
        if truth(request, "active") is False or truth(request, "archived"):
            return []
        named = [
            ({str(each) for each in several(request, name)}, names)
            for name, names in (
                ("id", lambda found: (str(found.number),)),
                ("slug", lambda found: (found.slug,)),
                ("condition_ids", lambda found: (found.native_id,)),
                ("clob_token_ids", lambda found: found.tokens),
            )
        ]
        return [
            found
            for found in self._asked(closed)
            if closed is is_closed(found, self._listing.at)
            and all(not wanted or not wanted.isdisjoint(names(found)) for wanted, names in named)
            and _is_asked(request, [found])
        ]

    def _market(self, request: web.Request) -> Market:
        text = request.match_info["id"]
        found = self._listing.numbered(int(text)) if text.isdecimal() and len(text) < 16 else None
        if found is None:
            raise Refused(404, MISSING)
        return found

    def _market_by_slug(self, request: web.Request) -> dict[str, Any]:
        for found in self._listing.known():
            if found.slug == request.match_info["slug"]:
                return market(self._listing, found)
        raise Refused(404, MISSING)

    def _market_tags(self, request: web.Request) -> list[dict[str, Any]]:
        return [tag(label) for label in tags(self._market(request))]

    # --- the rest --------------------------------------------------------------------------------

    def _all_tags(self) -> list[dict[str, Any]]:
        labels = dict.fromkeys(label for found in self._listing.living() for label in tags(found))
        return [tag(label) for label in labels]

    def _tags(self, request: web.Request) -> list[dict[str, Any]]:
        return window(self._all_tags(), whole(request, "offset", 0), whole(request, "limit", PAGE, 0, PAGE))

    def _tag_by_id(self, request: web.Request) -> dict[str, Any]:
        return _first(self._all_tags(), "id", request.match_info["id"])

    def _tag_by_slug(self, request: web.Request) -> dict[str, Any]:
        return _first(self._all_tags(), "slug", request.match_info["slug"])

    def _series(self, request: web.Request) -> list[dict[str, Any]]:
        slugs = dict.fromkeys(found.event.series for found in self._listing.living() if found.event.series)
        return window([series(slug) for slug in slugs], whole(request, "offset", 0), whole(request, "limit", 50, 0, 50))

    def _search(self, request: web.Request) -> dict[str, Any]:
        words, size = request.query.get("q", "").lower(), whole(request, "limit_per_type", 10, 1, 50)
        page = whole(request, "page", 1, 1)
        found = [
            each
            for each in members(self._listing.living()).values()
            if words and (words in each[0].title.lower() or any(words in one.title.lower() for one in each[1]))
        ]
        shown = window(found, (page - 1) * size, size)
        return {
            "events": [self._event(each) for each in shown],
            "tags": [each for each in self._all_tags() if words and words in each["label"].lower()][:size],
            "profiles": [],
            "pagination": {"hasMore": len(found) > page * size, "totalResults": len(found)},
        }

    def _key(self, request: web.Request, of: Callable[[Any], Sequence[Market]]) -> Callable[[Any], tuple[float, int]]:
        """What a list is sorted by: a value that rises in the order asked for, then the number."""
        asked = request.query.get("order", "") or "id"
        order = _ORDERS.get(_ALIASES.get(asked, asked))
        if order is None:
            raise Refused(422, {"type": "validation error", "error": "order fields are not valid"})
        sign = -1 if truth(request, "ascending") is False else 1
        sums = asked.startswith(("volume", "liquidity"))

        def key(item: Any) -> tuple[float, int]:
            values = [order(self._listing, each) for each in of(item)]
            return sign * (sum(values) if sums else values[0]), of(item)[0].number

        return key


def _of_event(found: Members) -> list[Market]:
    return found[1]


def _of_market(found: Market) -> list[Market]:
    return [found]


def _sorted(found: Sequence[Any], key: Callable[[Any], tuple[float, int]]) -> list[tuple[float, int, Any]]:
    return sorted(((*key(each), each) for each in found), key=lambda row: row[:2])


def _page(
    request: web.Request, found: Sequence[Any], key: Callable[[Any], tuple[float, int]]
) -> tuple[list[Any], dict[str, str]]:
    """A page behind `after_cursor`, and the cursor of the next one if there is one."""
    if "offset" in request.query:
        raise Refused(422, {"type": "validation error", "error": "offset is not supported with keyset pagination"})
    after, order = request.query.get("after_cursor", ""), request.query.get("order", "")
    place = place_of(after) if after else [order, float("-inf"), 0]
    if (
        place is None
        or len(place) != 3
        or place[0] != order
        or not all(isinstance(each, int | float) for each in place[1:])
    ):
        raise Refused(400, {"type": "validation error", "error": "invalid cursor"})
    limit = whole(request, "limit", 20, 1, PAGE)
    rows = [row for row in _sorted(found, key) if row[:2] > (place[1], place[2])]
    shown = rows[:limit]
    cursor = {"next_cursor": cursor_of(order, shown[-1][0], shown[-1][1])} if len(rows) > limit else {}
    return [each for _, _, each in shown], cursor


def _is_asked(request: web.Request, markets: list[Market]) -> bool:
    """Whether they pass the filters that events and markets share."""
    labels = tags(markets[0])
    wanted, slug = several(request, "tag_id"), request.query.get("tag_slug")
    if wanted and not {tag(label)["id"] for label in labels} & set(wanted):
        return False
    if slug and slug not in map(slug_of, labels):
        return False
    close = markets[0].event.close
    least, most = _instant(request, "end_date_min"), _instant(request, "end_date_max")
    return (least is None or close >= least) and (most is None or close <= most)


def _instant(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    try:
        return to_us(parse_time(text)) if text else None
    except (ValueError, OverflowError):
        raise Refused(422, {"type": "validation error", "error": f"{name} is not a date"}) from None


def _first(rows: list[dict[str, Any]], name: str, value: str) -> dict[str, Any]:
    found = next((row for row in rows if row[name] == value), None)
    if found is None:
        raise Refused(404, MISSING)
    return found

"""Polymarket's catalogue: events and markets in pages by offset or by cursor, single ones, tags, series, search.

Two habits of the venue are kept: the cursor has to come back as `after_cursor`, any other name is ignored; and a page
holds at most 100. Source: Gamma API.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from aiohttp import web

from flows.simulator.base import Market
from flows.simulator.listing import Listing, Members, members
from flows.simulator.polymarket_frames import tags
from flows.simulator.polymarket_objects import event, is_closed, market, middle, resolution, series, slug_of, tag
from flows.simulator.rest import Refused, get, several, truth, whole, window
from flows.simulator.stream import Tally
from flows.simulator.wire import cursor_of, place_of
from lake.clock import SECOND_US, parse_time, to_us

PAGE: Final = 100
Row = tuple[float, int, Any]
"""What a list is sorted by, the number, and the event with its markets or the market."""

_LONG: Final = 5_000
_WHILE: Final = 60 * SECOND_US
_NAMES: Final = ("id", "slug", "condition_ids", "clob_token_ids")

MISSING: Final = {"type": "not found error", "error": "id not found"}

_ORDERS: Final[dict[str, Callable[[Listing, Market], float]]] = {
    "id": lambda _, found: found.number,
    "volume24hr": lambda listing, found: listing.figures(found).volume_24h_usd,
    "volumeNum": lambda listing, found: listing.figures(found).volume_usd,
    "liquidityNum": lambda listing, found: listing.figures(found).liquidity_usd,
    "startDate": lambda _, found: found.listed,
    "endDate": lambda _, found: found.close,
    "closedTime": lambda _, found: found.determined,
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
    "closed_time": "closedTime",
    "createdAt": "startDate",
}


class Gamma:
    """The catalogue's routes."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._long: dict[tuple[Any, ...], tuple[int, list[Row]]] = {}  # the long list made last, and when

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
        found = self._ranked(request, self._events, _of_event)
        limit, offset = whole(request, "limit", 20, 0, 500), whole(request, "offset", 0)
        return self._shown(each for _, _, each in window(found, offset, limit))

    def _event_pages(self, request: web.Request) -> dict[str, Any]:
        if _is_by_number(request):
            after = _number_after(request)
            is_known = truth(request, "closed") is not False
            members = self._listing.events_after(after, is_known=is_known)
            rows = (each for each in members if self._is_event(request, each))
            found, cursor = _leaf(request, rows, lambda each: each[1][0].number)
        else:
            found, cursor = _page(request, self._ranked(request, self._events, _of_event))
        return {"events": self._shown(found)} | cursor

    def _shown(self, found: Iterable[Members]) -> list[dict[str, Any]]:
        shown = list(found)
        self._listing.prepare([market for _, markets in shown for market in markets])
        return [self._event(each) for each in shown]

    def _one_event(self, request: web.Request, name: str) -> dict[str, Any]:
        wanted = request.match_info[name]
        found = self._listing.event(wanted) if name == "id" else self._slugs().get(wanted)
        if found is None:
            raise Refused(404, MISSING)
        return self._event(found)

    def _slugs(self) -> dict[str, Members]:
        known = self._listing.known()
        found: dict[str, Members] = self._listing.kept(
            "slugs", lambda: {each[0].slug: each for each in members(known).values()}
        )
        return found

    def _asked(self, closed: bool | None) -> list[Market]:
        """The markets among which the open, the closed, or all are."""
        return self._listing.living() if closed is False else self._listing.known()

    def _event(self, found: Members) -> dict[str, Any]:
        return event(self._listing, *found)

    def _events(self, request: web.Request) -> list[Members]:
        ids = several(request, "id")
        if ids:
            named = [self._listing.event(each) for each in dict.fromkeys(ids)]
            found = [each for each in named if each is not None]
        else:
            found = list(members(self._asked(truth(request, "closed"))).values())
        return [each for each in found if self._is_event(request, each)]

    def _is_event(self, request: web.Request, each: Members) -> bool:
        """Whether the event passes the filters."""
        (found, markets), closed = each, truth(request, "closed")
        ids, slugs = several(request, "id"), several(request, "slug")
        return (
            (closed is None or closed is all(is_closed(one, self._listing.at) for one in markets))
            and (not ids or found.native_id in ids)
            and (not slugs or found.slug in slugs)
            and _is_asked(request, markets)
        )

    # --- markets ---------------------------------------------------------------------------------

    def _market_list(self, request: web.Request) -> list[dict[str, Any]]:
        found = self._ranked(request, self._markets, _of_market)
        limit, offset = whole(request, "limit", 20, 0, 500), whole(request, "offset", 0)
        return self._told(each for _, _, each in window(found, offset, limit))

    def _market_pages(self, request: web.Request) -> dict[str, Any]:
        if _is_by_number(request) and self._named(request) is None:
            if truth(request, "closed"):
                self._listing.known()  # and those that are over
            markets = self._listing.after(_number_after(request))
            rows = (each for each in markets if self._is_market(request, each))
            found, cursor = _leaf(request, rows, lambda each: each.number)
        else:
            found, cursor = _page(request, self._ranked(request, self._markets, _of_market))
        return {"markets": self._told(found)} | cursor

    def _told(self, found: Iterable[Market]) -> list[dict[str, Any]]:
        told = list(found)
        self._listing.prepare(told)
        return [market(self._listing, each) for each in told]

    def _markets(self, request: web.Request) -> list[Market]:
        found = self._named(request)
        if found is None:
            found = self._asked(truth(request, "closed") or False)
        return [each for each in found if self._is_market(request, each)]

    def _named(self, request: web.Request) -> list[Market] | None:
        """The markets that a request names, by whatever name; None if it names none."""
        if not any(request.query.getall(name, []) for name in _NAMES):
            return None
        listing = self._listing
        found: list[Market | None] = [
            *(listing.numbered(int(each)) for each in several(request, "id") if each.isdecimal() and len(each) < 16),
            *(self._by_slug().get(each) for each in several(request, "slug")),
            *(listing.named(each) for each in several(request, "condition_ids")),
            *((listing.token(each) or (None, True))[0] for each in several(request, "clob_token_ids")),
        ]
        return sorted({each.number: each for each in found if each is not None}.values(), key=lambda each: each.number)

    def _by_slug(self) -> dict[str, Market]:
        known = self._listing.known()
        found: dict[str, Market] = self._listing.kept("market slugs", lambda: {each.slug: each for each in known})
        return found

    def _is_market(self, request: web.Request, found: Market) -> bool:
        """Whether the market passes the filters; the venue leaves closed ones out unless asked."""
        at = self._listing.at
        if truth(request, "active") is False or truth(request, "archived"):
            return False
        wanted = [
            (several(request, "id"), (str(found.number),)),
            (several(request, "slug"), (found.slug,)),
            (several(request, "condition_ids"), (found.native_id,)),
            (several(request, "clob_token_ids"), found.tokens),
        ]
        state = request.query.get("uma_resolution_status")
        return (
            (truth(request, "closed") or False) is is_closed(found, at)
            and all(not names or not set(names).isdisjoint(own) for names, own in wanted)
            and (not state or state == resolution(found, at))
            and _is_asked(request, [found])
        )

    def _market(self, request: web.Request) -> Market:
        text = request.match_info["id"]
        found = self._listing.numbered(int(text)) if text.isdecimal() and len(text) < 16 else None
        if found is None:
            raise Refused(404, MISSING)
        return found

    def _market_by_slug(self, request: web.Request) -> dict[str, Any]:
        found = self._by_slug().get(request.match_info["slug"])
        if found is None:
            raise Refused(404, MISSING)
        return market(self._listing, found)

    def _market_tags(self, request: web.Request) -> list[dict[str, Any]]:
        return [tag(label) for label in tags(self._market(request))]

    # --- the rest --------------------------------------------------------------------------------

    def _all_tags(self) -> list[dict[str, Any]]:
        living = self._listing.living()
        found: list[dict[str, Any]] = self._listing.kept(
            "tags", lambda: [tag(label) for label in dict.fromkeys(label for each in living for label in tags(each))]
        )
        return found

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

    def _ranked(
        self, request: web.Request, asked: Callable[[web.Request], list[Any]], of: Callable[[Any], list[Market]]
    ) -> list[Row]:
        """What is asked for with its place in the order asked for; a long list is made once in a while."""
        query = sorted(each for each in request.query.items() if each[0] not in ("limit", "offset", "after_cursor"))
        name = (request.path, tuple(query))
        then, rows = self._long.get(name, (0, []))
        if not rows or not then <= self._listing.at < then + _WHILE:
            found = asked(request)
            self._listing.prepare([market for each in found for market in of(each)])
            rows = _sorted(found, self._key(request, of))
            self._long = {name: (self._listing.at, rows)} if len(rows) > _LONG else {}
        return rows

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


def _sorted(found: Sequence[Any], key: Callable[[Any], tuple[float, int]]) -> list[Row]:
    return sorted(((*key(each), each) for each in found), key=lambda row: row[:2])


def _is_by_number(request: web.Request) -> bool:
    """Whether a page goes in the usual order, which is that of the numbers."""
    return request.query.get("order", "") in ("", "id") and truth(request, "ascending") is not False


def _number_after(request: web.Request) -> int:
    return int(max(_place(request)[1], -1))


def _leaf(request: web.Request, rows: Iterator[Any], number: Callable[[Any], int]) -> tuple[list[Any], dict[str, str]]:
    """A page of rows that come in the order of their numbers, and the cursor of the next one if there is one."""
    limit = whole(request, "limit", 20, 1, PAGE)
    found = list(islice(rows, limit + 1))
    shown = found[:limit]
    if len(found) <= limit:
        return shown, {}
    last = number(shown[-1])
    return shown, {"next_cursor": cursor_of(request.query.get("order", ""), last, last)}


def _page(request: web.Request, ranked: Sequence[Row]) -> tuple[list[Any], dict[str, str]]:
    """A page behind `after_cursor`, and the cursor of the next one if there is one."""
    place = _place(request)
    limit = whole(request, "limit", 20, 1, PAGE)
    first = bisect_right(ranked, (place[1], place[2]), key=lambda row: row[:2])
    rows = ranked[first : first + limit + 1]
    shown = rows[:limit]
    order = request.query.get("order", "")
    cursor = {"next_cursor": cursor_of(order, shown[-1][0], shown[-1][1])} if len(rows) > limit else {}
    return [each for _, _, each in shown], cursor


def _place(request: web.Request) -> list[Any]:
    """The place that `after_cursor` stands for: the order, a value, a number."""
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
    return place


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

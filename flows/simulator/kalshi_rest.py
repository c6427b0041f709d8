"""Kalshi's REST API: exchange, series, events, markets, books, trades, candlesticks.

Signed requests are checked, unsigned ones accepted. Lists go on by an opaque `cursor`, empty at the end; unknown
tickers in a list are dropped without a word. Source: OpenAPI, trade-api/v2.
"""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Final

from aiohttp import web

from flows.simulator import kalshi_combos
from flows.simulator import kalshi_objects as objects
from flows.simulator.base import Event, Market
from flows.simulator.kalshi_candles import PERIODS, candlesticks
from flows.simulator.kalshi_combos import Combo
from flows.simulator.keys import Verifier
from flows.simulator.listing import Listing, Members
from flows.simulator.past_trades import after, backwards
from flows.simulator.rest import Refused, get, several, truth, whole
from flows.simulator.stream import Tally
from flows.simulator.wire import cursor_of, iso, place_of
from lake.clock import DAY_US, SECOND_US

PREFIX: Final = "/trade-api/v2"
MOST_CANDLES: Final = 10_000
MOST_TICKERS: Final = 100

_ENDS: Final = ("min", "max")
_FIELDS: Final = ("created", "close", "settled", "updated")
_WEEK: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIMES: Final[dict[str, Callable[[Market], int]]] = {
    "created": lambda market: market.listed,
    "close": lambda market: market.close,
    "settled": lambda market: market.gone,
}


def refused(status: int, code: str, details: str = "") -> Refused:
    """An error in this venue's form."""
    return Refused(status, {"error": {"code": code, "message": code.replace("_", " "), "details": details}})


class KalshiRest:
    """The API's routes."""

    def __init__(self, listing: Listing, verifier: Verifier) -> None:
        self._listing = listing
        self._verifier = verifier

    def add_to(self, app: web.Application, tally: Tally) -> None:
        """Every route."""
        for path, answer in (
            ("/exchange/status", self._status),
            ("/exchange/schedule", self._schedule),
            ("/series", self._series_list),
            ("/series/{series}", self._series),
            ("/series/{series}/markets/{ticker}/candlesticks", self._candles),
            ("/events", self._events),
            ("/events/multivariate", self._combo_events),
            ("/events/{ticker}", self._event),
            ("/markets", self._markets),
            ("/markets/trades", self._trades),
            ("/markets/orderbooks", self._orderbooks),
            ("/markets/candlesticks", self._batch_candles),
            ("/markets/{ticker}", lambda asked: {"market": objects.market(self._listing, self._one(asked))}),
            ("/markets/{ticker}/orderbook", self._orderbook),
            ("/historical/cutoff", self._cutoff),
            ("/search/tags_by_categories", self._tags),
        ):
            get(app, PREFIX + path, self._checked(answer), tally)

    def _checked(self, answer: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        """`answer`, unless the request carries a signature that does not hold."""

        def check(request: web.Request) -> Any:
            if "KALSHI-ACCESS-KEY" in request.headers:
                fault = self._verifier.fault(request.headers, request.method, request.path)
                if fault is not None:
                    raise refused(401, "authentication_error", fault)
            return answer(request)

        return check

    # --- exchange --------------------------------------------------------------------------------

    def _status(self, request: web.Request) -> dict[str, Any]:
        working = {"exchange_active": True, "trading_active": True, "intra_exchange_transfers_active": True}
        index = {"exchange_index": 0, "description": "event contracts", **working}
        return working | {"exchange_estimated_resume_time": None, "exchange_index_statuses": [index]}

    def _schedule(self, request: web.Request) -> dict[str, Any]:
        hours = {day: [{"open_time": "00:00", "close_time": "00:00"}] for day in _WEEK}
        always = {"start_time": "2024-12-01T00:00:00Z", "end_time": "2200-12-01T00:00:00Z", **hours}
        return {"schedule": {"standard_hours": [always], "maintenance_windows": []}}

    def _cutoff(self, request: web.Request) -> dict[str, str]:
        since = iso((self._listing.at - DAY_US) // SECOND_US * SECOND_US)
        return {"market_settled_ts": since, "trades_created_ts": since, "orders_updated_ts": since}

    def _tags(self, request: web.Request) -> dict[str, Any]:
        found: dict[str, dict[str, None]] = {}
        for market in self._listing.living():
            event = market.event
            found.setdefault(event.category, {}).update(
                dict.fromkeys(each for each in event.tags if each != event.category)
            )
        return {"tags_by_categories": {category: [*tags] or None for category, tags in sorted(found.items())}}

    # --- series and events -----------------------------------------------------------------------

    def _families(self) -> dict[str, Event]:
        living = self._listing.living()
        found: dict[str, Event] = self._listing.kept(
            "series", lambda: {market.event.series: market.event for market in reversed(living)}
        )
        return found

    def _series_list(self, request: web.Request) -> dict[str, Any]:
        category, tags = request.query.get("category"), set(several(request, "tags"))
        found = [each for each in self._families().values() if not category or each.category == category]
        return {"series": [objects.series(each) for each in found if not tags or tags & set(each.tags)]}

    def _series(self, request: web.Request) -> dict[str, Any]:
        found = self._families().get(request.match_info["series"])
        if found is None:
            raise refused(404, "not_found")
        return {"series": objects.series(found)}

    def _events(self, request: web.Request) -> dict[str, Any]:
        wanted, series = set(several(request, "tickers")), request.query.get("series_ticker")
        states, least = self._states(request), whole(request, "min_close_ts", 0) * SECOND_US
        updated = whole(request, "min_updated_ts", 0) * SECOND_US
        after, at = self._after(request), self._listing.at
        if wanted:
            named = sorted((each for each in map(self._listing.event, wanted) if each), key=_first)
            rows = (each for each in named if _first(each) > after)
        else:
            rows = (each for each in self._listing.events_after(after, is_known=_is_over(states)))
        asked = (
            (event, markets)
            for event, markets in rows
            if (not series or event.series == series)
            and (states is None or any(objects.state(self._listing, each) in states for each in markets))
            and (not least or any(each.close >= least for each in markets))
            and (not updated or any(objects.updated(each, at) >= updated for each in markets))
        )
        found, cursor = self._page(request, asked, _first, 200, 200)
        is_nested = truth(request, "with_nested_markets") is True
        if is_nested:
            self._listing.prepare([market for _, markets in found for market in markets])
        return {
            "events": [objects.event(self._listing, *each, is_nested=is_nested) for each in found],
            "cursor": cursor,
        }

    def _event(self, request: web.Request) -> dict[str, Any]:
        found = self._listing.event(request.match_info["ticker"])
        if found is None:
            raise refused(404, "not_found")
        is_nested = truth(request, "with_nested_markets") is True
        told = {"event": objects.event(self._listing, *found, is_nested=is_nested)}
        return told if is_nested else told | {"markets": [objects.market(self._listing, each) for each in found[1]]}

    # --- markets ---------------------------------------------------------------------------------

    def _states(self, request: web.Request) -> tuple[str, ...] | None:
        asked = request.query.get("status")
        if not asked:
            return None
        if asked not in objects.STATUSES:
            raise refused(400, "bad_request", f"status {asked[:20]!r} is not one of {', '.join(objects.STATUSES)}")
        return objects.STATUSES[asked]

    def _markets(self, request: web.Request) -> dict[str, Any]:
        wanted, states = several(request, "tickers"), self._states(request)
        event, series = request.query.get("event_ticker"), request.query.get("series_ticker")
        after, at = self._after(request), self._listing.at
        if wanted:
            named = sorted(self._known(wanted), key=_number)
            rows: Iterator[Market] = (each for each in named if each.number > after)
        elif event:
            rows = (each for each in (self._listing.event(event) or (None, []))[1] if each.number > after)
        else:
            if _is_over(states):
                self._listing.known()  # and those that are over
            rows = self._listing.after(after)
        asked = (
            market
            for market in rows
            if (not event or market.event.native_id == event)
            and (not series or market.event.series == series)
            and (states is None or objects.state(self._listing, market) in states)
            and _is_in_time(request, market, at)
            and request.query.get("mve_filter") != "only"
        )
        every = chain(asked, self._combos(request, after))
        found, cursor = self._page(request, every, lambda each: each.number, 100, 1_000)
        self._listing.prepare([each for each in found if isinstance(each, Market)])
        return {"markets": [self._told(each) for each in found], "cursor": cursor}

    def _told(self, found: Market | Combo) -> dict[str, Any]:
        if isinstance(found, Combo):
            return kalshi_combos.market(self._listing, found)
        return objects.market(self._listing, found)

    def _combos(self, request: web.Request, after: int) -> Iterator[Combo]:
        """Those that a list holds which does not exclude them, and is asked for open markets at large."""
        narrow = ("tickers", "event_ticker", "series_ticker", *(f"{end}_{of}_ts" for end in _ENDS for of in _FIELDS))
        is_large = not any(request.query.get(name) for name in narrow)
        if is_large and request.query.get("status") in (None, "open") and request.query.get("mve_filter") != "exclude":
            yield from (combo for combo in kalshi_combos.combos(self._listing) if combo.number > after)

    def _combo_events(self, request: web.Request) -> dict[str, Any]:
        after = self._after(request)
        rows = (combo for combo in kalshi_combos.combos(self._listing) if combo.number > after)
        found, cursor = self._page(request, rows, lambda each: each.number, 100, 200)
        is_nested = truth(request, "with_nested_markets") is True
        told = [kalshi_combos.event(self._listing, each, is_nested=is_nested) for each in found]
        return {"events": told, "cursor": cursor}

    def _known(self, tickers: list[str]) -> list[Market]:
        """The markets of those tickers; unknown ones are dropped without a word."""
        found = map(self._listing.named, dict.fromkeys(tickers))
        return [market for market in found if market is not None]

    def _one(self, request: web.Request) -> Market:
        found = self._listing.named(request.match_info["ticker"])
        if found is None:
            raise refused(404, "not_found")
        return found

    def _after(self, request: web.Request) -> int:
        """The number behind which the page begins."""
        cursor = request.query.get("cursor", "")
        place = place_of(cursor) if cursor else [-1]
        if place is None or len(place) != 1 or not isinstance(place[0], int):
            raise refused(400, "bad_request", "cursor cannot be read")
        return place[0]

    def _page(
        self, request: web.Request, rows: Iterator[Any], key: Callable[[Any], int], default: int, most: int
    ) -> tuple[list[Any], str]:
        """A page of rows in order, and the next cursor, empty at the end."""
        limit = whole(request, "limit", default, 1, most)
        found = list(islice(rows, limit + 1))
        return found[:limit], cursor_of(key(found[limit - 1])) if len(found) > limit else ""

    # --- books and trades ------------------------------------------------------------------------

    def _orderbook(self, request: web.Request) -> dict[str, Any]:
        depth = whole(request, "depth", 0, 0, 100)
        return {"orderbook_fp": objects.orderbook(self._listing.book(self._one(request)), depth)}

    def _orderbooks(self, request: web.Request) -> dict[str, Any]:
        found = self._several(several(request, "tickers"))
        self._listing.prepare(found)
        books = [(market.native_id, objects.orderbook(self._listing.book(market), 0)) for market in found]
        return {"orderbooks": [{"ticker": ticker, "orderbook_fp": book} for ticker, book in books]}

    def _several(self, tickers: list[str]) -> list[Market]:
        if not tickers:
            raise refused(400, "bad_request", "tickers are missing")
        if len(tickers) > MOST_TICKERS:
            raise refused(400, "bad_request", f"more than {MOST_TICKERS} tickers")
        return self._known(tickers)

    def _trades(self, request: web.Request) -> dict[str, Any]:
        ticker, cursor = request.query.get("ticker"), request.query.get("cursor", "")
        start, end = whole(request, "min_ts", 0) * SECOND_US, whole(request, "max_ts", 0) * SECOND_US
        at = self._listing.at
        place = place_of(cursor) if cursor else [min(end, at) if end else at, 0]
        if place is None or len(place) != 2 or not all(isinstance(each, int) for each in place):
            raise refused(400, "bad_request", "cursor cannot be read")
        market = self._listing.named(ticker) if ticker else None
        markets = [] if market is None else [market]
        limit = whole(request, "limit", 100, 1, 1_000)
        if (ticker and not markets) or truth(request, "is_block_trade"):
            return {"trades": [], "cursor": ""}
        last, seen = place  # trades at that very time that were told already
        tape = islice(backwards(self._listing, markets, max(0, start - 1), last), seen, None)
        rows = list(islice(tape, limit + 1))
        shown = rows[:limit]
        more = after(shown, last, seen) if len(rows) > limit else ""
        return {"trades": [objects.trade(each) for each in shown], "cursor": more}

    # --- candlesticks ----------------------------------------------------------------------------

    def _span(self, request: web.Request) -> tuple[int, int, int]:
        start, end = whole(request, "start_ts", -1, -1), whole(request, "end_ts", -1, -1)
        period = whole(request, "period_interval", 0)
        if start < 0 or end < start or period not in PERIODS:
            raise refused(400, "bad_request", "start_ts, end_ts and a period_interval of 1, 60 or 1440 are required")
        return start, end, period

    def _candles(self, request: web.Request) -> dict[str, Any]:
        market, (start, end, period) = self._one(request), self._span(request)
        if (end - start) // (60 * period) > MOST_CANDLES:
            raise refused(400, "bad_request", f"more than {MOST_CANDLES} candlesticks")
        found = candlesticks(self._listing, [market], start, end, period)
        return {"ticker": market.native_id, "candlesticks": found[0]}

    def _batch_candles(self, request: web.Request) -> dict[str, Any]:
        markets, (start, end, period) = self._several(several(request, "market_tickers")), self._span(request)
        if len(markets) * ((end - start) // (60 * period)) > MOST_CANDLES:
            raise refused(400, "bad_request", f"more than {MOST_CANDLES} candlesticks")
        found = zip(markets, candlesticks(self._listing, markets, start, end, period), strict=True)
        return {"markets": [{"market_ticker": market.native_id, "candlesticks": each} for market, each in found]}


def _is_in_time(request: web.Request, market: Market, at: int) -> bool:
    updated = whole(request, "min_updated_ts", 0)
    if updated and objects.updated(market, at) < updated * SECOND_US:
        return False
    for name, of in _TIMES.items():
        least, most = whole(request, f"min_{name}_ts", 0), whole(request, f"max_{name}_ts", 0)
        if name == "settled" and (least or most) and at < market.gone:
            return False
        if (least and of(market) < least * SECOND_US) or (most and of(market) > most * SECOND_US):
            return False
    return True


def _is_over(states: tuple[str, ...] | None) -> bool:
    """Whether markets that are over may be among those of these states."""
    return states is None or "finalized" in states


def _number(market: Market) -> int:
    return market.number


def _first(found: Members) -> int:
    return found[1][0].number

"""Polymarket's order-book API over REST: books, prices, histories, markets.

`side=BUY` of a price is the best bid, `SELL` the best ask. Batches leave out what they do not know. Source: CLOB API.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from aiohttp import web

from flows.simulator.base import Candles, Market
from flows.simulator.listing import Listing
from flows.simulator.polymarket_clob_objects import clob_market, compact, simplified
from flows.simulator.polymarket_frames import best, is_exclusive, rest_book
from flows.simulator.polymarket_objects import is_closed
from flows.simulator.rest import Refused, get, post, whole
from flows.simulator.stream import Tally
from flows.simulator.wire import ONE, number, plain, seconds
from lake.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, floor_to

NO_BOOK: Final = Refused(404, {"error": "No orderbook exists for the requested token id"})
BATCH: Final = 500
HISTORIES: Final = 20
LONGEST_DAYS: Final = 15
INTERVALS: Final = {"1h": HOUR_US, "6h": 6 * HOUR_US, "1d": DAY_US, "1w": 7 * DAY_US, "1m": 30 * DAY_US}
END: Final = "LTE="
Place = tuple[Market, bool]


class Clob:
    """The order-book API's routes."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def add_to(self, app: web.Application, prefix: str, tally: Tally) -> None:
        """Every route under the prefix."""
        get(app, f"{prefix}/", lambda _: "OK", tally)
        get(app, f"{prefix}/ok", lambda _: "OK", tally)
        get(app, f"{prefix}/time", lambda _: seconds(self._listing.at), tally)
        get(app, f"{prefix}/book", lambda asked: self._book(self._asked(asked)), tally)
        post(app, f"{prefix}/books", lambda _, body: [self._book(place) for place, _ in self._batch(body)], tally)
        get(app, f"{prefix}/midpoint", lambda asked: {"mid": self._mid(self._asked(asked))}, tally)
        post(app, f"{prefix}/midpoints", lambda _, body: self._of_each(body, self._mid), tally)
        get(app, f"{prefix}/spread", lambda asked: {"spread": self._spread(self._asked(asked))}, tally)
        post(app, f"{prefix}/spreads", lambda _, body: self._of_each(body, self._spread), tally)
        get(app, f"{prefix}/price", self._price, tally)
        post(app, f"{prefix}/prices", lambda _, body: self._prices(body), tally)
        get(app, f"{prefix}/last-trade-price", self._last_trade, tally)
        post(app, f"{prefix}/last-trades-prices", lambda _, body: self._last_trades(body), tally)
        get(app, f"{prefix}/tick-size", self._tick_size, tally)
        get(app, f"{prefix}/neg-risk", lambda asked: {"neg_risk": is_exclusive(self._asked(asked)[0])}, tally)
        get(app, f"{prefix}/fee-rate", self._fee_rate, tally)
        get(app, f"{prefix}/prices-history", self._history, tally)
        post(app, f"{prefix}/batch-prices-history", lambda _, body: self._histories(body), tally)
        for name, form, is_sampled in (
            ("markets", dict, False),
            ("simplified-markets", simplified, False),
            ("sampling-markets", dict, True),
            ("sampling-simplified-markets", simplified, True),
        ):
            get(app, f"{prefix}/{name}", self._pages(form, is_sampled=is_sampled), tally)
        get(app, f"{prefix}/markets/{{id}}", lambda asked: clob_market(self._listing, self._market(asked)), tally)
        get(app, f"{prefix}/clob-markets/{{id}}", lambda asked: compact(self._market(asked), self._listing.at), tally)
        get(app, f"{prefix}/markets-by-token/{{token}}", self._by_token, tally)

    # --- books and prices ------------------------------------------------------------------------

    def _asked(self, request: web.Request) -> Place:
        """The token of the query; one without a book is refused."""
        token = request.query.get("token_id", "")
        if not token.isdecimal():
            raise Refused(400, {"error": "Invalid token id"})
        found = self._open(token)
        if found is None:
            raise NO_BOOK
        return found

    def _open(self, token: str) -> Place | None:
        found = self._listing.token(token)
        return None if found is None or is_closed(found[0], self._listing.at) else found

    def _batch(self, body: Any) -> list[tuple[Place, dict[str, Any]]]:
        """The tokens of a batch that have a book, each with what was asked of it."""
        if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
            raise Refused(400, {"error": "Invalid payload"})
        if len(body) > BATCH:
            raise Refused(400, {"error": "Payload exceeds the limit"})
        found = {str(item.get("token_id")): item for item in body}
        self._listing.prepare([place[0] for token in found if (place := self._open(token)) is not None])
        return [(place, item) for token, item in found.items() if (place := self._open(token)) is not None]

    def _of_each(self, body: Any, answer: Callable[[Place], str]) -> dict[str, str]:
        return {_token(place): answer(place) for place, _ in self._batch(body)}

    def _book(self, place: Place) -> dict[str, Any]:
        market, is_first = place
        book = self._listing.book(market)
        return rest_book(self._listing.told(market), book, is_first, book.changed)

    def _best(self, place: Place) -> tuple[int | None, int | None]:
        return best(self._listing.book(place[0]), place[1])

    def _mid(self, place: Place) -> str:
        bid, ask = self._best(place)
        return plain(((bid or 0) + (ONE if ask is None else ask)) // 2)

    def _spread(self, place: Place) -> str:
        bid, ask = self._best(place)
        return plain((ONE if ask is None else ask) - (bid or 0))

    def _side(self, place: Place, side: object) -> str:
        if side not in ("BUY", "SELL"):
            raise Refused(400, {"error": "Invalid side"})
        bid, ask = self._best(place)
        return plain(bid or 0) if side == "BUY" else plain(ONE if ask is None else ask)

    def _price(self, request: web.Request) -> dict[str, str]:
        return {"price": self._side(self._asked(request), request.query.get("side", "").upper())}

    def _prices(self, body: Any) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        items = [item for item in body if isinstance(item, dict)] if isinstance(body, list) else []
        if self._batch(body):
            for item in items:  # a token may be asked for both sides
                place, side = self._open(str(item.get("token_id"))), item.get("side")
                if place is not None:
                    found.setdefault(_token(place), {})[str(side)] = self._side(place, side)
        return found

    def _last(self, place: Place) -> str:
        price = self._listing.book(place[0]).last_trade
        return "" if price is None else plain(price if place[1] else ONE - price)

    def _last_trade(self, request: web.Request) -> dict[str, str]:
        price = self._last(self._asked(request))
        return {"price": price or "0", "side": "BUY" if price else ""}

    def _last_trades(self, body: Any) -> list[dict[str, str]]:
        return [
            {"token_id": _token(place), "price": price, "side": "BUY"}
            for place, _ in self._batch(body)
            if (price := self._last(place))
        ]

    def _tick_size(self, request: web.Request) -> dict[str, float]:
        return {"minimum_tick_size": number(self._listing.told(self._asked(request)[0]).tick)}

    def _fee_rate(self, request: web.Request) -> dict[str, int]:
        self._asked(request)
        return {"base_fee": 0}

    # --- histories -------------------------------------------------------------------------------

    def _history(self, request: web.Request) -> dict[str, Any]:
        place = self._listing.token(request.query.get("market", ""))
        if place is None:
            return {"history": []}
        start, end = self._window(
            request.query.get("interval"),
            whole(request, "startTs", -1, -1),
            whole(request, "endTs", -1, -1),
        )
        return {"history": self._points([place], start, end, whole(request, "fidelity", 1, 1))[0]}

    def _histories(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict) or not isinstance(body.get("markets"), list):
            raise Refused(400, {"error": "Invalid payload"})
        if len(body["markets"]) > HISTORIES:
            raise Refused(400, {"error": "Payload exceeds the limit"})
        found = {token: self._listing.token(token) for token in body["markets"] if isinstance(token, str)}
        asked = {token: place for token, place in found.items() if place is not None}
        numbers = {name: value for name, value in body.items() if isinstance(value, int) and value >= 0}
        start, end = self._window(body.get("interval"), numbers.get("start_ts", -1), numbers.get("end_ts", -1))
        points = self._points(list(asked.values()), start, end, max(1, numbers.get("fidelity", 1)))
        return {"history": dict(zip(asked, points, strict=True))}

    def _window(self, interval: object, start: int, end: int) -> tuple[int, int]:
        """First and last instant, never later than now; -1 is not asked."""
        at = self._listing.at
        if start < 0 and end < 0:
            if interval == "max":
                return 0, at
            if str(interval) not in INTERVALS:
                raise Refused(400, {"error": "invalid interval, or startTs and endTs are missing"})
            return at - INTERVALS[str(interval)], at
        last = at if end < 0 else min(at, end * SECOND_US)
        first = max(start, 0) * SECOND_US
        if last - first > LONGEST_DAYS * DAY_US and start >= 0:
            raise Refused(400, {"error": "invalid filters: 'startTs' and 'endTs' interval is too long"})
        return first, last

    def _points(self, places: list[Place], start: int, end: int, fidelity: int) -> list[list[dict[str, float]]]:
        """For each token its price at the start of each bucket of so many minutes."""
        if not places:
            return []
        oldest = max(start, min(market.listed for market, _ in places))
        if oldest >= end:
            return [[] for _ in places]
        candles = self._listing.world.candles([market for market, _ in places], floor_to(oldest, MINUTE_US), end + 1)
        return [
            []
            if is_closed(market, self._listing.at) and fidelity < 720
            else _points(minutes, is_first, start, end, fidelity)
            for (market, is_first), minutes in zip(places, candles, strict=True)
        ]

    # --- markets ---------------------------------------------------------------------------------

    def _market(self, request: web.Request) -> Market:
        found = self._listing.named(request.match_info["id"])
        if found is None:
            raise Refused(404, {"error": "market not found"})
        return found

    def _by_token(self, request: web.Request) -> dict[str, str]:
        found = self._listing.token(request.match_info["token"])
        if found is None:
            raise Refused(404, {"error": "market not found"})
        market, _ = found
        return {
            "condition_id": market.native_id,
            "primary_token_id": market.tokens[0],
            "secondary_token_id": market.tokens[1],
        }

    def _pages(self, form: Callable[[dict[str, Any]], dict[str, Any]], *, is_sampled: bool) -> Callable[..., Any]:
        limit = 500 if is_sampled else 1_000

        def answer(request: web.Request) -> dict[str, Any]:
            place = _offset(request.query.get("next_cursor", "") or "MA==")
            rows = self._listing.living() if is_sampled else self._listing.known()
            if is_sampled:
                rows = [market for market in rows if self._listing.at < market.close]
            shown, end = rows[place : place + limit], place + limit
            cursor = b64encode(str(end).encode()).decode() if end < len(rows) else END
            self._listing.prepare(shown)
            data = [form(clob_market(self._listing, market)) for market in shown]
            return {"data": data, "next_cursor": cursor, "limit": limit, "count": len(data)}

        return answer


def _token(place: Place) -> str:
    return place[0].tokens[0 if place[1] else 1]


def _offset(cursor: str) -> int:
    try:
        place = int(b64decode(cursor))
    except ValueError:
        place = -1
    if place < 0:
        raise Refused(400, {"error": "Next item should be greater than or equal to 0"})
    return place


def _points(minutes: Candles, is_first: bool, start: int, end: int, fidelity: int) -> list[dict[str, float]]:
    asked = (minutes.start >= start) & (minutes.start <= end)
    times, prices = minutes.start[asked], minutes.mid[asked, 0]
    bucket = times // (fidelity * MINUTE_US)
    opens = np.flatnonzero(np.diff(bucket, prepend=-1))
    if not is_first:
        prices = ONE - prices
    return [{"t": seconds(int(times[i])), "p": number(int(prices[i]))} for i in opens]

"""Polymarket's data API: the tape of trades, open interest, volume of events; the first version and the second.

The first answers bare arrays with names in camel case and pages by offset; the second wraps them, pages by cursor and
names in snake case. Only takers' fills are told. Source: Data API.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from aiohttp import web

from flows.simulator.base import Happening, Kind
from flows.simulator.listing import Listing
from flows.simulator.past_trades import after, backwards
from flows.simulator.polymarket_frames import printed_trade
from flows.simulator.rest import Refused, get, several, whole
from flows.simulator.stream import Tally
from flows.simulator.wire import ONE, hex_of, number, place_of, seconds
from lake.clock import SECOND_US

PAGE: Final = 500
DEEPEST: Final = 1_000  # rows that the first version pages over


class Data:
    """The data API's routes."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def add_to(self, app: web.Application, prefix: str, tally: Tally) -> None:
        """Every route under the prefix."""
        get(app, f"{prefix}/", lambda _: {"data": "OK"}, tally)
        get(app, f"{prefix}/trades", self._trades, tally)
        get(app, f"{prefix}/oi", self._interest, tally)
        get(app, f"{prefix}/live-volume", self._volume, tally)
        get(app, f"{prefix}/v2/trades", self._trades_2, tally)
        get(app, f"{prefix}/v2/oi", self._interest_2, tally)
        get(app, f"{prefix}/v2/live-volume", self._volume_2, tally)

    def _tape(self, request: web.Request, conditions: list[str], start: int, end: int) -> Iterator[Happening]:
        """Trades newest first that pass the filters."""
        markets = [market for market in map(self._listing.named, conditions) if market is not None]
        if conditions and not markets:
            return
        side, least = request.query.get("side", "").upper(), whole(request, "filterAmount", 0)
        in_cash = request.query.get("filterType", request.query.get("filter_type", "")).upper() == "CASH"
        for trade in backwards(self._listing, markets, start, end):
            amount = trade.size * trade.price // ONE if in_cash else trade.size
            if amount >= least * ONE and side in ("", printed_trade(trade)["side"]):
                yield trade

    def _trades(self, request: web.Request) -> list[dict[str, Any]]:
        limit, offset = whole(request, "limit", 100, 0, PAGE), whole(request, "offset", 0, 0, DEEPEST)
        asked = self._conditions(request, "market", "eventId")
        start, end = whole(request, "start", 0), whole(request, "end", 0)
        last = min(self._listing.at, end * SECOND_US) if end else self._listing.at
        tape = self._tape(request, asked, start * SECOND_US, last)
        return [_row(trade) for trade in islice(tape, offset, offset + limit)]

    def _trades_2(self, request: web.Request) -> dict[str, Any]:
        if "offset" in request.query:
            raise Refused(400, {"error": "offset is not supported: use cursor"})
        limit, cursor = whole(request, "limit", 100, 1, PAGE), request.query.get("cursor", "")
        place = place_of(cursor) if cursor else [self._listing.at, 0]
        if place is None or len(place) != 2 or not all(isinstance(each, int) for each in place):
            raise Refused(400, {"error": "invalid cursor"})
        last, seen = place  # trades at that very time that were told already
        tape = islice(self._tape(request, self._conditions(request, "condition", "event_id"), 0, last), seen, None)
        rows = list(islice(tape, limit + 1))
        shown, has_more = rows[:limit], len(rows) > limit
        data = [{_snake(name): value for name, value in _row(trade).items()} for trade in shown]
        return _wrapped(data, limit, after(shown, last, seen) if has_more else None)

    def _conditions(self, request: web.Request, market: str, event: str) -> list[str]:
        events = set(several(request, event))
        return several(request, market) + [
            found.native_id for found in (self._listing.living() if events else ()) if found.event.native_id in events
        ]

    def _interest(self, request: web.Request) -> list[dict[str, Any]]:
        asked = several(request, "market")
        return [{"market": name, "value": value} for name, value in self._interests(asked)]

    def _interest_2(self, request: web.Request) -> dict[str, Any]:
        asked = several(request, "condition")
        data = [{"condition_id": name, "value": value} for name, value in self._interests(asked)]
        return _wrapped(data, len(data), None)

    def _interests(self, asked: list[str]) -> list[tuple[str, float]]:
        world, at = self._listing.world, self._listing.at
        if not asked:
            every = sum(world.figures(market, at).open_interest for market in self._listing.living())
            return [("GLOBAL", number(every))]
        markets = [market for market in map(self._listing.named, asked) if market is not None]
        return [(market.native_id, number(world.figures(market, at).open_interest)) for market in markets]

    def _volumes(self, request: web.Request, name: str) -> list[tuple[str, float]]:
        wanted, world, at = set(several(request, name)), self._listing.world, self._listing.at
        return [
            (market.native_id, number(world.figures(market, at).volume_usd))
            for market in self._listing.living()
            if market.event.native_id in wanted
        ]

    def _volume(self, request: web.Request) -> list[dict[str, Any]]:
        found = self._volumes(request, "id")
        markets = [{"market": name, "value": value} for name, value in found]
        return [{"total": sum(value for _, value in found), "markets": markets}]

    def _volume_2(self, request: web.Request) -> dict[str, Any]:
        found = self._volumes(request, "event_id")
        conditions = [{"condition_id": name, "taker_volume": value} for name, value in found]
        data = {"taker_volume_total": sum(value for _, value in found), "conditions": conditions}
        return _wrapped(data, len(conditions), None)


def _row(trade: Happening) -> dict[str, Any]:
    assert trade.kind is Kind.TRADE
    market, printed = trade.market, printed_trade(trade)
    place = 0 if printed["is_first"] else 1
    return {
        "proxyWallet": hex_of("wallet", trade.trade_id)[:42],
        "side": printed["side"],
        "asset": printed["token"],
        "conditionId": market.native_id,
        "size": number(trade.size),
        "price": number(printed["price"]),
        "timestamp": seconds(trade.time),
        "title": market.title,
        "slug": market.slug,
        "icon": "",
        "eventSlug": market.event.slug,
        "outcome": market.outcomes[place],
        "outcomeIndex": place,
        "name": "",
        "pseudonym": "",
        "bio": "",
        "profileImage": "",
        "profileImageOptimized": "",
        "transactionHash": printed["hash"],
    }


_SNAKE: Final = {"asset": "token_id"}


def _snake(name: str) -> str:
    return _SNAKE.get(name) or "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _wrapped(data: Any, limit: int, cursor: str | None) -> dict[str, Any]:
    return {"data": data, "pagination": {"limit": limit, "has_more": cursor is not None, "next_cursor": cursor}}

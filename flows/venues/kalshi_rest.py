"""Kalshi's REST answers: bytes in, actions out; today's dollar strings and the whole cents of before.

Until March 2026 prices were whole cents and counts whole numbers; in between both were sent. A bid
of 0 and an ask of 1 mean "no quote". A market carries no category: its event and its series do.
Source: OpenAPI, trade-api/v2.
"""

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import msgspec

from flows.venues.base import (
    DUPLICATE,
    Action,
    EventUpdate,
    Level,
    MarketUpdate,
    Message,
    Outcome,
    Reset,
    Stats,
    Top,
    Trade,
    dead,
    ignored,
    newest,
    plain,
)
from flows.venues.decimals import ONE, Number, cents, price, quote, size, to_float, units
from flows.venues.fields import instant, rules_hash, said
from flows.venues.kalshi_rest_wire import (
    ANSWER,
    BOOK,
    EVENT,
    LIST,
    MARKET,
    NESTED,
    OBJECT,
    SERIES,
    TRADE,
    PriceRange,
    RestBook,
    RestEvent,
    RestMarket,
    RestSeries,
)
from lake.errors import BadFrame
from lake.vocab import MarketId, MarketStatus, Source, TakerSide, Venue, market_id, market_key

Ladder = list[Level]

_REMEMBERED: Final = 500_000
_TOLD: Final = 20_000


@lru_cache(maxsize=1 << 16)
def key_of(ticker: str) -> int:
    """The market key of a ticker; raises `BadFrame` on an empty one."""
    return market_key(market_name(ticker))


def market_name(ticker: str) -> MarketId:
    """`kalshi:<ticker>`; raises `BadFrame` on an empty one."""
    if not ticker:
        raise BadFrame("ticker is empty")
    return market_id(Venue.KALSHI, ticker)


def family_name(ticker: str | None) -> str | None:
    """`kalshi:<ticker>` of an event or a series; None for an empty one."""
    return f"{Venue.KALSHI.value}:{ticker}" if ticker else None


_STATUS: Final = {
    "initialized": MarketStatus.INITIALIZED,
    "unopened": MarketStatus.INITIALIZED,
    "active": MarketStatus.ACTIVE,
    "open": MarketStatus.ACTIVE,
    "inactive": MarketStatus.INACTIVE,
    "paused": MarketStatus.INACTIVE,
    "closed": MarketStatus.CLOSED,
    "determined": MarketStatus.PROPOSED,
    "disputed": MarketStatus.DISPUTED,
    "amended": MarketStatus.DISPUTED,
    "finalized": MarketStatus.RESOLVED,
    "settled": MarketStatus.RESOLVED,
}


class Seen:
    """Trade ids already taken, the newest half million."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, trade_id: str) -> bool:
        """Remember it; False if it was known."""
        if trade_id in self._ids:
            return False
        self._ids[trade_id] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return True

    def newest(self) -> list[str]:
        """Those that may be told again, oldest first."""
        return newest(self._ids, _TOLD)


class Catalogue:
    """Reads answers; remembers which series and category an event belongs to."""

    def __init__(self) -> None:
        self._events: dict[str, RestEvent] = {}
        self._series: dict[str, RestSeries] = {}

    def known(self) -> tuple[dict[str, RestEvent], dict[str, RestSeries]]:
        """Events and series so far, for `know`."""
        return self._events, self._series

    def know(self, events: dict[str, RestEvent], series: dict[str, RestSeries]) -> None:
        """Remember these."""
        self._events, self._series = events, series

    def answer(self, raw: bytes, seen: Seen) -> list[Message]:
        """A message for each market, event, series, trade or book of the answer; raises `BadFrame`, msgspec's."""
        found = ANSWER.decode(raw)
        if found.orderbook_fp is not None or found.orderbook is not None:
            return [_book(found.ticker, found.orderbook_fp or found.orderbook)]
        if bytes(found.candlesticks):
            return [ignored("rest:candlesticks")]
        if found.ticker is not None or bytes(found.market):
            return [self._each(bytes(found.market) or raw, self._market)]
        events = found.events if found.event_ticker is None else [msgspec.Raw(raw)]
        groups = (
            (events, self._event),
            (_several(found.event), self._event),
            (_nested([*(events or ()), *(_several(found.event) or ())]), self._market),
            (found.markets if found.event_ticker is None else None, self._market),
            (_several(found.series), self._one_series),
            (found.trades, lambda item: _trade(item, seen)),
            (found.orderbooks, _ticker_book),
        )
        if all(items is None for items, _ in groups):
            return self._by_ticker(raw)
        if found.markets and _has_key(found.markets[0], "candlesticks"):
            return [ignored("rest:candlesticks") for _ in found.markets]
        return [self._each(bytes(item), read) for items, read in groups for item in items or ()]

    def _by_ticker(self, raw: bytes) -> list[Message]:
        """Recorders keep polls as an object of ticker to market."""
        items = OBJECT.decode(raw)
        if not any(_has_key(item, "ticker") for item in items.values()):
            return [ignored("rest:unknown_answer")]
        return [self._each(bytes(item), self._market) for item in items.values()]

    def _each(self, raw: bytes, read: Any) -> Message:
        try:
            found: list[Action] | None = read(raw)
        except (msgspec.DecodeError, BadFrame, UnicodeError) as exc:
            return dead(plain(exc), raw)
        return DUPLICATE if found is None else Message(Outcome.APPLIED, found)

    def _market(self, raw: bytes) -> list[Action]:
        market = MARKET.decode(raw)
        bid, ask = market.yes_bid_dollars or cents(market.yes_bid), market.yes_ask_dollars or cents(market.yes_ask)
        if bid is None or ask is None:
            raise BadFrame("market without yes_bid_dollars or yes_ask_dollars")
        key, best = key_of(market.ticker), (quote(bid), quote(ask))
        resting = [
            None if at is None or text is None else size(text)
            for at, text in zip(best, (market.yes_bid_size_fp, market.yes_ask_size_fp), strict=True)
        ]
        return [
            MarketUpdate(key, self._fields(market)),
            Stats(
                key,
                volume_24h_contracts=whole(market.volume_24h_fp, market.volume_24h),
                volume_total_contracts=whole(market.volume_fp, market.volume),
                open_interest=whole(market.open_interest_fp, market.open_interest),
            ),
            Top(key, *best, None, Source.REST, *resting),
        ]

    def _fields(self, market: RestMarket) -> dict[str, Any]:
        event = self._events.get(market.event_ticker or "")
        series = None if event is None else self._series.get(event.series_ticker or "")
        status = _STATUS.get(market.status or "")
        return said(
            market_id=market_name(market.ticker),
            event_id=family_name(market.event_ticker),
            series_id=None if event is None else family_name(event.series_ticker),
            title=title(market.title, market.yes_sub_title),
            category=(series and series.category) or (event and event.category) or None,
            tags=None if series is None else series.tags,
            outcomes=["Yes", "No"],
            status=None if status is None else status.value,
            close_time=instant(market.close_time),
            listed_time=instant(market.open_time),
            tick_size=finest(market.price_ranges) or to_float(price(cents(market.tick_size) or "0")) or None,
            slug=None if market.event_ticker is None else market.event_ticker.lower(),
            rules_hash=rules_hash(market.rules_primary, market.rules_secondary),
            result=result(market.result),
        )

    def _event(self, raw: bytes) -> list[Action]:
        event = EVENT.decode(raw)
        self._events[event.event_ticker] = event
        series = self._series.get(event.series_ticker or "")
        update = EventUpdate(
            f"{Venue.KALSHI.value}:{event.event_ticker}",
            said(
                series_id=family_name(event.series_ticker),
                title=event.title,
                mutually_exclusive=event.mutually_exclusive,
                category=(series and series.category) or event.category,
                tags=None if series is None else series.tags,
                slug=event.event_ticker.lower(),
            ),
        )
        return [update]

    def _one_series(self, raw: bytes) -> list[Action]:
        """A series is kept for its events: it has no table of its own."""
        series = SERIES.decode(raw)
        self._series[series.ticker] = series
        return []


def title(question: str | None, answer: str | None) -> str | None:
    """What the market asks, with its leg where the question does not name it."""
    if not question or not answer or answer.lower() == "yes" or answer.lower() in question.lower():
        return question or answer or None
    return f"{question} · {answer}"


def ladder(levels: Iterable[tuple[Number, Number]] | None) -> Ladder:
    """Levels in 1e-6, in the order sent."""
    return [(price(level), size(count)) for level, count in levels or ()]


def finest(ranges: list[PriceRange] | None) -> float | None:
    """The smallest step of a price grid."""
    steps = [units(part.step) for part in ranges or ()]
    return min(steps) / ONE if steps else None


def whole(fixed_point: str | None, count: int | None) -> float | None:
    """Contracts, of today's string or the whole number of before."""
    return size(fixed_point) / ONE if fixed_point else (None if count is None else size(count) / ONE)


def taker(side: str | None) -> TakerSide | None:
    """Who took: yes buys the first outcome."""
    return {"yes": TakerSide.BUY, "no": TakerSide.SELL}.get(side or "")


def result(text: str | None) -> str | None:
    """The winning outcome's name."""
    return {"yes": "Yes", "no": "No"}.get(text or "", text or None)


def _several(found: msgspec.Raw) -> list[msgspec.Raw] | None:
    """The items of a list, or the single one; None if there is nothing."""
    if bytes(found) in (b"", b"null"):
        return None
    return LIST.decode(found) if bytes(found)[:1] == b"[" else [found]


def _nested(events: list[msgspec.Raw]) -> list[msgspec.Raw] | None:
    """The markets inside events: messages of their own, so that a bad one does not lose the rest."""
    found: list[msgspec.Raw] = []
    for event in events:
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):  # an unreadable event is dead by itself
            found += NESTED.decode(event).markets or ()
    return found or None


def _has_key(raw: msgspec.Raw, key: str) -> bool:
    """Whether it is an object with that key."""
    try:
        return key in OBJECT.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def _trade(raw: bytes, seen: Seen) -> list[Action] | None:
    trade = TRADE.decode(raw)
    paid, amount = trade.yes_price_dollars or cents(trade.yes_price), trade.count_fp or trade.count
    event = instant(trade.created_time)
    if paid is None or amount is None or event is None:
        raise BadFrame("trade without yes_price_dollars, count_fp or created_time")
    side = taker(trade.taker_outcome_side or trade.taker_side)
    row = Trade(key_of(trade.ticker), trade.trade_id, price(paid), size(amount), side, event, trade.is_block_trade)
    if not seen.add(trade.trade_id):
        return None
    return [MarketUpdate(row.market, {"market_id": market_name(trade.ticker)}), row]


def _ticker_book(raw: bytes) -> list[Action]:
    answer = BOOK.decode(raw)
    return _rest_reset(answer.ticker, answer.orderbook_fp)


def _book(ticker: str | None, book: RestBook | None) -> Message:
    if ticker is None or book is None:
        return ignored("rest:book_of_unnamed_market")
    return Message(Outcome.APPLIED, _rest_reset(ticker, book))


def _rest_reset(ticker: str, book: RestBook) -> list[Action]:
    """A book that REST serves; dollars win where cents are sent as well."""
    if all(leg is msgspec.UNSET for leg in (book.yes_dollars, book.no_dollars, book.yes, book.no)):
        raise BadFrame("orderbook without yes_dollars or no_dollars")
    yes, no = _leg(book.yes_dollars, book.yes), _leg(book.no_dollars, book.no)
    asks = [(ONE - level, count) for level, count in no]
    return [
        MarketUpdate(key_of(ticker), {"market_id": market_name(ticker)}),
        Reset(key_of(ticker), yes, asks, None, Source.REST),
    ]


def _leg(dollars: Any, old: Any) -> Ladder:
    """A leg's levels, of today's form or the old one; an empty leg is null or left out."""
    if dollars is not msgspec.UNSET and dollars is not None:
        return ladder(dollars)
    return [] if old is msgspec.UNSET else ladder((cents(level), count) for level, count in old or ())

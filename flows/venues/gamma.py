"""Polymarket's catalogue (Gamma REST): markets and events in, metadata and figures out.

Lists inside a market are strings that hold JSON; optional fields are left out; a missing best bid
means that there is none. Categories are tags of the event, so a market without its event has none.
Source: Gamma API, "markets" and "events".
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from flows.venues.base import Action, EventUpdate, Stats, Top
from flows.venues.decimals import ONE, Number, price, quote
from flows.venues.fields import instant, rules_hash, said
from lake.errors import BadFrame
from lake.vocab import MarketStatus, Source, Venue, market_id, market_key

CATEGORIES: Final = (
    "Politics", "Elections", "Sports", "Crypto", "Finance", "Economy", "Tech", "Culture", "Geopolitics", "World",
    "Weather", "Mentions", "Earnings",
)  # fmt: skip
"""Tags that name a topic, by priority; any other tag is housekeeping or detail."""


class Tag(msgspec.Struct, gc=False):
    """A label of an event."""

    label: str | None = None


class Series(msgspec.Struct, gc=False):
    """The recurring family of an event."""

    id: str | int | None = None
    slug: str | None = None


class GammaMarket(msgspec.Struct, rename="camel", gc=False):
    """The fields of a market that we read."""

    id: str | int | None = None
    condition_id: str | None = None
    question: str | None = None
    slug: str | None = None
    description: str | None = None
    outcomes: str | list[str] | None = None
    outcome_prices: str | list[str] | None = None
    clob_token_ids: str | list[str] | None = None
    active: bool | None = None
    closed: bool | None = None
    archived: bool | None = None
    accepting_orders: bool | None = None
    start_date: str | None = None
    end_date: str | None = None
    uma_resolution_status: str | None = None
    best_bid: Number = None
    best_ask: Number = None
    order_price_min_tick_size: Number = None
    volume24hr: float | None = None
    volume_num: float | None = None
    liquidity_num: float | None = None
    events: "list[GammaEvent] | None" = None


class GammaEvent(msgspec.Struct, rename="camel", gc=False):
    """The fields of an event that we read."""

    id: str | int | None = None
    slug: str | None = None
    title: str | None = None
    end_date: str | None = None
    neg_risk: bool | None = None
    tags: list[Tag] | None = None
    series: list[Series] | None = None
    markets: list[GammaMarket] | None = None


class _Page(msgspec.Struct, gc=False):
    markets: list[GammaMarket] | None = None
    events: list[GammaEvent] | None = None


class _RawPage(msgspec.Struct, rename="camel", gc=False):
    id: object = None
    condition_id: object = None
    question: object = None
    markets: list[msgspec.Raw] | None = None
    events: list[msgspec.Raw] | None = None


class Described(NamedTuple):
    """A market's metadata, its tokens in the order of its outcomes, its figures."""

    native_id: str
    fields: dict[str, Any]
    tokens: list[str]
    figures: list[Action]


_MARKET: Final = msgspec.json.Decoder(GammaMarket)
_EVENT: Final = msgspec.json.Decoder(GammaEvent)
_PAGE: Final = msgspec.json.Decoder(_Page)
_RAW_PAGE: Final = msgspec.json.Decoder(_RawPage)
_LIST: Final = msgspec.json.Decoder(list[str])


def catalogue(raw: bytes) -> tuple[list[GammaEvent], list[tuple[GammaMarket, GammaEvent | None]]]:
    """The events, and the markets each with its event, of a market, an event or a keyset page.

    Raises `BadFrame` on an object that is none of them, and msgspec's errors on one of another form.
    """
    market = _MARKET.decode(raw)
    if market.condition_id is not None or market.question is not None:
        return [], [(market, _event_of(market))]
    event = _EVENT.decode(raw)
    if event.id is not None:
        return [event], _members([event])
    page = _PAGE.decode(raw)
    if page.events is None and page.markets is None:
        raise BadFrame("is neither a market nor an event nor a page of them")
    return page.events or [], [*_members(page.events or []), *((each, _event_of(each)) for each in page.markets or ())]


def members(raw: bytes) -> list[bytes]:
    """The markets and events of a keyset page, so that one bad one loses no other; anything else is itself."""
    try:
        page = _RAW_PAGE.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return [raw]
    if page.id or page.condition_id or page.question or (page.markets is None and page.events is None):
        return [raw]
    return [bytes(item) for item in (*(page.events or ()), *(page.markets or ()))]


def event_fields(event: GammaEvent) -> EventUpdate:
    """What an event says of itself; raises `BadFrame` without an id."""
    if event.id is None:
        raise BadFrame("event without id")
    return EventUpdate(
        f"{Venue.POLYMARKET.value}:{event.id}",
        said(
            series_id=_series(event),
            title=event.title,
            mutually_exclusive=event.neg_risk,
            category=category(_labels(event)),
            tags=_labels(event),
            close_time=instant(event.end_date),
            slug=event.slug,
        ),
    )


def market_fields(market: GammaMarket, event: GammaEvent | None) -> Described | None:
    """A market's metadata; None for one that has no answer to trade yet (an unnamed placeholder)."""
    native = market.condition_id or f"gamma-{market.id}"
    key = market_key(market_id(Venue.POLYMARKET, native))
    outcomes, tokens = _texts(market.outcomes), _texts(market.clob_token_ids)
    if market.outcomes is not None and len(outcomes) != 2:
        return None
    result = _result(market, outcomes)
    fields = said(
        title=market.question,
        outcomes=outcomes or None,
        status=_status(market, result),
        close_time=instant(market.end_date),
        listed_time=instant(market.start_date),
        tick_size=None if market.order_price_min_tick_size is None else price(market.order_price_min_tick_size) / ONE,
        slug=market.slug,
        rules_hash=rules_hash(market.description),
        result=result,
    )
    if event is not None and event.id is not None:
        fields |= said(event_id=f"{Venue.POLYMARKET.value}:{event.id}", series_id=_series(event))
        if event.tags:
            fields |= said(category=category(_labels(event)), tags=_labels(event))
    return Described(native, fields, tokens if len(tokens) == 2 else [], list(_figures(key, market)))


def category(labels: Iterable[str]) -> str | None:
    """The topic among an event's labels, by priority; None if there is none."""
    found = set(labels)
    return next((name for name in CATEGORIES if name in found), None)


def _figures(key: int, market: GammaMarket) -> Iterable[Action]:
    if (market.volume24hr, market.volume_num, market.liquidity_num) != (None, None, None):
        yield Stats(
            key,
            volume_24h_usd=market.volume24hr,
            volume_total_usd=market.volume_num,
            liquidity_usd=market.liquidity_num,
        )
    if not market.closed and _has_quote(market):
        yield Top(key, quote(market.best_bid), quote(market.best_ask), None, Source.REST)


def _has_quote(market: GammaMarket) -> bool:
    return market.best_bid is not None or market.best_ask is not None


def _event_of(market: GammaMarket) -> GammaEvent | None:
    """The small event inside a market."""
    return next(iter(market.events or ()), None)


def _members(events: list[GammaEvent]) -> list[tuple[GammaMarket, GammaEvent | None]]:
    return [(market, event) for event in events for market in event.markets or ()]


def _status(market: GammaMarket, result: str | None) -> str | None:
    """Closed with a winner is resolved, without the oracle's word too, unless orders are still accepted."""
    resolution = market.uma_resolution_status
    if market.closed:
        is_over = resolution in ("resolved", "settled") or (result is not None and not market.accepting_orders)
        return (MarketStatus.RESOLVED if is_over else MarketStatus.CLOSED).value
    if resolution in ("proposed", "disputed"):
        return resolution
    if market.active is None:
        return None
    is_open = market.active and not market.archived and market.accepting_orders is not False
    return (MarketStatus.ACTIVE if is_open else MarketStatus.INACTIVE).value


def _result(market: GammaMarket, outcomes: list[str]) -> str | None:
    """The winner, only where prices of a closed market are exactly 1 and 0; `50-50` for a tie."""
    prices = _texts(market.outcome_prices)
    if not market.closed or len(prices) != 2 or len(outcomes) != 2:
        return None
    if sorted(prices) == ["0", "1"]:
        return outcomes[prices.index("1")]
    return "50-50" if prices == ["0.5", "0.5"] and market.uma_resolution_status == "resolved" else None


def _labels(event: GammaEvent) -> list[str]:
    return [tag.label for tag in event.tags or () if tag.label]


def _series(event: GammaEvent) -> str | None:
    first = next(iter(event.series or ()), None)
    return None if first is None or first.id is None else f"{Venue.POLYMARKET.value}:{first.id}"


def _texts(value: str | list[str] | None) -> list[str]:
    """A list, or a string that holds one as JSON."""
    if isinstance(value, str):
        return _LIST.decode(value) if value else []
    return value or []

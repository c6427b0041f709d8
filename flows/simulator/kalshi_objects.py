"""Kalshi's series, events, markets, trades and books as its REST API describes them.

Prices are strings of dollars with four decimals, counts strings with two; a bid of 0 and an ask of 1 mean "no quote".
Source: OpenAPI, trade-api/v2.
"""

from typing import Any, Final

from flows.simulator.base import Book, Event, Figures, Happening, Market
from flows.simulator.kalshi_frames import collateral, ladder, outcome, price_grid, rules, top
from flows.simulator.listing import Listing
from flows.simulator.wire import ONE, count, dollars, iso

SETTLEMENT_SECONDS: Final = 300

STATUSES: Final = {
    "unopened": ("initialized",),
    "open": ("active",),
    "paused": ("inactive",),
    "closed": ("closed", "determined"),
    "settled": ("finalized",),
}
"""The words of filters, and the states that each finds: the two vocabularies differ."""


def status(market: Market, at: int) -> str:
    """The state of a market."""
    if at < market.close:
        return "active"
    if at < market.determined:
        return "closed"
    return "determined" if at < market.gone else "finalized"


def state(listing: Listing, found: Market) -> str:
    """The state of a market as the venue tells it: it may be paused."""
    now = status(listing.told(found), listing.at)
    return "inactive" if now == "active" and found.native_id in listing.paused else now


def updated(market: Market, at: int) -> int:
    """When its definition changed last: trading is no such change."""
    return max(time for time in (market.listed, market.determined, market.gone) if time <= max(at, market.listed))


def series(event: Event) -> dict[str, Any]:
    """A recurring family, by one of its events: the category stands here."""
    tags = [tag for tag in event.tags if tag != event.category]
    return {
        "ticker": event.series,
        "title": event.title,
        "frequency": "custom",
        "category": event.category,
        "categories": [event.category],
        "tags": tags or None,
        "settlement_sources": [{"name": "The simulated world", "url": "http://127.0.0.1/"}],
        "contract_url": "",
        "contract_terms_url": "",
        "fee_type": "quadratic",
        "fee_multiplier": 1,
        "additional_prohibitions": None,
        "exchange_index": 0,
        "last_updated_ts": iso(event.listed),
    }


def event(listing: Listing, found: Event, markets: list[Market], *, is_nested: bool) -> dict[str, Any]:
    """An event, with its markets if asked for."""
    described: dict[str, Any] = {
        "event_ticker": found.native_id,
        "series_ticker": found.series,
        "title": found.title,
        "sub_title": "",
        "category": found.category,
        "mutually_exclusive": found.is_exclusive,
        "collateral_return_type": collateral(markets[0]),
        "strike_period": "",
        "available_on_brokers": False,
        "exchange_index": 0,
        "last_updated_ts": iso(found.listed),
        "settlement_sources": [{"name": "The simulated world", "url": "http://127.0.0.1/"}],
        "product_metadata": {},
    }
    return described | ({"markets": [market(listing, each) for each in markets]} if is_nested else {})


def market(listing: Listing, found: Market) -> dict[str, Any]:
    """A market."""
    found = listing.told(found)
    at, book, figures = listing.at, listing.book(found), listing.figures(found)
    described = {
        "ticker": found.native_id,
        "event_ticker": found.event.native_id,
        "market_type": "binary",
        "title": found.title,
        "subtitle": "",
        "yes_sub_title": found.label,
        "no_sub_title": found.label,
        "created_time": iso(found.listed),
        "updated_time": iso(updated(found, at)),
        "open_time": iso(found.listed),
        "close_time": iso(found.close),
        "expected_expiration_time": iso(found.determined),
        "expiration_time": iso(found.gone),
        "latest_expiration_time": iso(found.gone),
        "settlement_timer_seconds": SETTLEMENT_SECONDS,
        "settlement_bounds_type": "default",
        "status": state(listing, found),
        "notional_value_dollars": "1.0000",
        **top(book),
        "no_bid_dollars": dollars(ONE - (book.asks[0][0] if book.asks else ONE)),
        "no_ask_dollars": dollars(ONE - (book.bids[0][0] if book.bids else 0)),
        "last_price_dollars": dollars(book.last_trade or 0),
        **_day_ago(found, figures),
        "volume_fp": count(figures.volume),
        "volume_24h_fp": count(figures.volume_24h),
        "open_interest_fp": count(figures.open_interest),
        "liquidity_dollars": "0.0000",
        "result": "",
        "can_close_early": True,
        "early_close_condition": "",
        "expiration_value": "",
        "rules_primary": rules(found),
        "rules_secondary": "",
        "exchange_index": 0,
        "is_provisional": False,
        **price_grid(found),
    }
    if at >= found.determined:
        described["result"] = outcome(found.winner == 0)
        described["settlement_value_dollars"] = dollars(ONE if found.winner == 0 else 0)
    if at >= found.gone:
        described["settlement_ts"] = iso(found.gone)
    return described


def orderbook(book: Book, depth: int) -> dict[str, list[tuple[str, str]]]:
    """Bids of both legs, the best last; the best `depth` of them, 0 = all."""
    return {"yes_dollars": ladder(book, True)[-depth:], "no_dollars": ladder(book, False)[-depth:]}


def trade(happening: Happening) -> dict[str, Any]:
    """One execution."""
    side = outcome(happening.is_buy)
    return {
        "trade_id": happening.trade_id,
        "ticker": happening.market.native_id,
        "count_fp": count(happening.size),
        "yes_price_dollars": dollars(happening.price),
        "no_price_dollars": dollars(ONE - happening.price),
        "taker_side": side,
        "taker_outcome_side": side,
        "taker_book_side": "bid" if happening.is_buy else "ask",
        "created_time": iso(happening.time),
        "is_block_trade": False,
    }


def _day_ago(found: Market, figures: Figures) -> dict[str, str]:
    """Prices of 24 hours ago, 0 for a market that was not there."""
    ago = figures.day_ago
    price = 0 if ago is None else ago - ago % found.tick
    return {
        "previous_price_dollars": dollars(price),
        "previous_yes_bid_dollars": dollars(max(0, price - found.tick) if price else 0),
        "previous_yes_ask_dollars": dollars(min(ONE, price + found.tick) if price else 0),
    }

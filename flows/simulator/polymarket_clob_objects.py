"""Polymarket's markets as the order-book API describes them: whole, short, and in its second version.

Source: CLOB API, "markets" and "clob-markets".
"""

from typing import Any

from flows.simulator.base import Market
from flows.simulator.listing import Listing
from flows.simulator.polymarket_frames import MIN_SIZE, is_exclusive, rules, tags
from flows.simulator.polymarket_objects import is_closed, middle
from flows.simulator.wire import ONE, hex_of, iso, number


def clob_market(listing: Listing, found: Market) -> dict[str, Any]:
    """A market as the order-book API describes it."""
    at, mid = listing.at, middle(listing.book(found))
    closed = is_closed(found, at)
    prices = [ONE * (found.winner == 0), ONE * (found.winner == 1)] if closed else [mid, ONE - mid]
    return {
        "enable_order_book": not closed,
        "active": True,
        "closed": closed,
        "archived": False,
        "accepting_orders": at < found.close,
        "accepting_order_timestamp": iso(found.listed),
        "minimum_order_size": int(MIN_SIZE),
        "minimum_tick_size": number(found.tick),
        "condition_id": found.native_id,
        "question_id": hex_of("question", found.native_id),
        "question": found.title,
        "description": rules(found),
        "market_slug": found.slug,
        "end_date_iso": iso(found.close),
        "game_start_time": None,
        "seconds_delay": 0,
        "fpmm": "",
        "maker_base_fee": 0,
        "taker_base_fee": 0,
        "notifications_enabled": True,
        "neg_risk": is_exclusive(found),
        "neg_risk_market_id": hex_of("event", found.event.native_id) if is_exclusive(found) else "",
        "neg_risk_request_id": "",
        "icon": "",
        "image": "",
        "rewards": {"rates": None, "min_size": 50, "max_spread": 4.5},
        "is_50_50_outcome": False,
        "tokens": [
            {
                "token_id": token,
                "outcome": found.outcomes[place],
                "price": number(prices[place]),
                "winner": closed and found.winner == place,
            }
            for place, token in enumerate(found.tokens)
        ],
        "tags": tags(found),
    }


def simplified(whole: dict[str, Any]) -> dict[str, Any]:
    """The short form of the same."""
    names = ("condition_id", "rewards", "tokens", "active", "closed", "archived", "accepting_orders")
    return {name: whole[name] for name in names}


def compact(found: Market, at: int) -> dict[str, Any]:
    """A market in the second version of the order-book API."""
    return {
        "r": {"mi": 50, "ma": 4.5, "moas": 4},
        "t": [{"t": token, "o": outcome} for token, outcome in zip(found.tokens, found.outcomes, strict=True)],
        "c": found.native_id,
        "mos": int(MIN_SIZE),
        "mts": number(found.tick),
        "mbf": 0,
        "tbf": 0,
        "ao": at < found.close,
        "nr": is_exclusive(found),
        "cbos": True,
        "aot": iso(found.listed),
        "ibce": True,
        "fd": {"r": 0, "e": 1, "to": True},
    }

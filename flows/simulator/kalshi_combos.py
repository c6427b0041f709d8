"""Kalshi's combos: markets on two markets at once, minted by users, which flood a list that does not exclude them.

They have no quotes and no trades, are told on no socket, and are left out of `/events`. Source: OpenAPI,
"multivariate events".
"""

from dataclasses import dataclass
from typing import Any, Final

from flows.simulator import kalshi_objects as objects
from flows.simulator.base import Book, Market
from flows.simulator.kalshi_frames import top
from flows.simulator.listing import Listing
from flows.simulator.wire import dollars, hex_of

COMBOS: Final = 200
COLLECTION: Final = "KXMVESIMULATED-R"
_FIRST: Final = 2**60  # their numbers come after those of all other markets
_NOTHING: Final = Book((), (), 0, None)


@dataclass(frozen=True, slots=True)
class Combo:
    """A market that ends with yes if both of its legs do."""

    number: int
    ticker: str
    legs: tuple[Market, Market]


def combos(listing: Listing) -> list[Combo]:
    """Of neighbours among the living markets, by number."""
    living = listing.living()[: COMBOS + 1]
    pairs = zip(living, living[1:], strict=False)
    return [Combo(_FIRST + place, _ticker(legs), legs) for place, legs in enumerate(pairs)]


def market(listing: Listing, combo: Combo) -> dict[str, Any]:
    """A combo as the lists describe it: a market with legs and without quotes."""
    legs = [{"event_ticker": leg.event.native_id, "market_ticker": leg.native_id, "side": "yes"} for leg in combo.legs]
    words = ", ".join(f"yes {leg.title}" for leg in combo.legs)
    nothing = dict.fromkeys(("volume_fp", "volume_24h_fp", "open_interest_fp"), "0.00")
    return objects.market(listing, combo.legs[0]) | {
        "ticker": combo.ticker,
        "event_ticker": combo.ticker.rpartition("-")[0],
        "title": words,
        "yes_sub_title": words,
        "no_sub_title": words,
        "mve_collection_ticker": COLLECTION,
        "mve_selected_legs": legs,
        "is_provisional": True,
        "status": "active",
        "result": "",
        "last_price_dollars": dollars(0),
        "no_bid_dollars": dollars(0),
        "no_ask_dollars": dollars(1_000_000),
        **top(_NOTHING),
        **nothing,
    }


def event(listing: Listing, combo: Combo, *, is_nested: bool) -> dict[str, Any]:
    """The event of a combo, which has one market."""
    leg = combo.legs[0]
    described = objects.event(listing, leg.event, [leg], is_nested=False) | {
        "event_ticker": combo.ticker.rpartition("-")[0],
        "series_ticker": COLLECTION.partition("-")[0],
        "mutually_exclusive": False,
        "collateral_return_type": "",
    }
    return described | ({"markets": [market(listing, combo)]} if is_nested else {})


def _ticker(legs: tuple[Market, Market]) -> str:
    name = hex_of("combo", *(leg.native_id for leg in legs))[2:].upper()
    return f"KXMVESIMULATED-S{name[:11]}-{name[11:22]}"

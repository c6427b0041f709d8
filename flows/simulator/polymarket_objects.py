"""Polymarket's events, markets, tags and series as the catalogue describes them.

Lists inside a catalogue's market are strings that hold JSON; a missing best bid is left out; a category is a tag.
Source: Gamma API, "markets" and "events".
"""

from typing import Any, Final
from zlib import crc32

from flows.simulator.base import Book, Event, Market
from flows.simulator.listing import Listing
from flows.simulator.polymarket_frames import MIN_SIZE, best, is_exclusive, rules, tags
from flows.simulator.wire import ONE, encode, hex_of, iso, number

TAG_IDS: Final = {"Sports": 1, "Politics": 2, "Crypto": 21, "Finance": 120, "Elections": 144, "Economy": 100_328}
LONG_AGO: Final = "2025-01-01T00:00:00Z"


def slug_of(label: str) -> str:
    """A label as it stands in an address."""
    return "-".join("".join(char if char.isalnum() else " " for char in label.lower()).split())


def tag(label: str) -> dict[str, Any]:
    """A tag, its id always the same for a label."""
    found = TAG_IDS.get(label) or 200_000 + crc32(label.encode()) % 100_000
    return {
        "id": str(found),
        "label": label,
        "slug": slug_of(label),
        "forceShow": False,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "requiresTranslation": False,
    }


def series(slug: str) -> dict[str, Any]:
    """A recurring family."""
    return {
        "id": str(10_000 + crc32(slug.encode()) % 90_000),
        "ticker": slug,
        "slug": slug,
        "title": slug.replace("-", " ").title(),
        "seriesType": "single",
        "recurrence": "daily",
        "active": True,
        "closed": False,
        "archived": False,
        "featured": False,
        "restricted": True,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "requiresTranslation": False,
    }


def is_closed(market: Market, at: int) -> bool:
    """Whether its result is known."""
    return at >= market.determined


DISPUTED: Final = 8
"""One market in so many is disputed in the second half of the time from its close to its result."""


def resolution(market: Market, at: int) -> str | None:
    """How far the decision is: None before the close, then proposed, for some disputed, in the end resolved."""
    if at < market.close:
        return None
    if is_closed(market, at):
        return "resolved"
    is_late = at >= market.close + (market.determined - market.close) // 2
    return "disputed" if is_late and market.number % DISPUTED == 0 else "proposed"


def event(listing: Listing, found: Event, markets: list[Market], *, is_whole: bool = True) -> dict[str, Any]:
    """An event with its markets and tags; without them, as it stands inside a market, if not `is_whole`."""
    at, closed = listing.at, all(is_closed(market, listing.at) for market in markets)
    figures = [listing.figures(market) for market in markets]
    volume, day = sum(each.volume_usd for each in figures), sum(each.volume_24h_usd for each in figures)
    liquidity = number(sum(each.liquidity_usd for each in figures))
    described: dict[str, Any] = {
        "id": found.native_id,
        "ticker": found.slug,
        "slug": found.slug,
        "title": found.title,
        "description": f"Markets on: {found.title}",
        "resolutionSource": "",
        "startDate": iso(found.listed),
        "creationDate": iso(found.listed),
        "endDate": iso(found.close),
        "active": True,
        "closed": closed,
        "archived": False,
        "new": False,
        "featured": False,
        "restricted": True,
        "liquidity": liquidity,
        "volume": number(volume),
        "openInterest": 0,
        "createdAt": iso(found.listed),
        "updatedAt": iso(at),
        "volume24hr": number(day),
        "volume1wk": number(volume),
        "volume1mo": number(volume),
        "volume1yr": number(volume),
        "enableOrderBook": True,
        "liquidityClob": liquidity,
        "negRisk": found.is_exclusive,
        "commentCount": 0,
        "cyom": False,
        "showAllOutcomes": True,
        "enableNegRisk": found.is_exclusive,
        "negRiskAugmented": False,
        "requiresTranslation": False,
    }
    if found.series:
        described |= {"series": [series(found.series)], "seriesSlug": found.series}
    if found.is_exclusive:
        described["negRiskMarketID"] = hex_of("event", found.native_id)
    if is_whole:
        described["markets"] = [_market(listing, market) for market in markets]
        described["tags"] = [tag(label) for label in tags(markets[0])]
    return described


def market(listing: Listing, found: Market) -> dict[str, Any]:
    """A market with its small event."""
    return _market(listing, found) | {"events": [event(listing, found.event, [found], is_whole=False)]}


def _market(listing: Listing, found: Market) -> dict[str, Any]:
    found = listing.told(found)
    at, book = listing.at, listing.book(found)
    figures, closed = listing.figures(found), is_closed(found, at)
    volume, day, liquidity = figures.volume_usd, figures.volume_24h_usd, figures.liquidity_usd
    described: dict[str, Any] = {
        "id": str(found.number),
        "question": found.title,
        "conditionId": found.native_id,
        "slug": found.slug,
        "resolutionSource": "",
        "endDate": iso(found.close),
        "liquidity": str(number(liquidity)),
        "startDate": iso(found.listed),
        "description": rules(found),
        "outcomes": encode(found.outcomes).decode(),
        "outcomePrices": encode(_outcome_prices(found, book, is_closed=closed)).decode(),
        "volume": str(number(volume)),
        "active": True,
        "closed": closed,
        "marketMakerAddress": "",
        "createdAt": iso(found.listed),
        "updatedAt": iso(at),
        "new": False,
        "featured": False,
        "archived": False,
        "restricted": True,
        "groupItemTitle": found.label,
        "questionID": hex_of("question", found.native_id),
        "enableOrderBook": True,
        "orderPriceMinTickSize": number(found.tick),
        "orderMinSize": int(MIN_SIZE),
        "volumeNum": number(volume),
        "liquidityNum": number(liquidity),
        "endDateIso": iso(found.close)[:10],
        "startDateIso": iso(found.listed)[:10],
        "volume24hr": number(day),
        "volume1wk": number(volume),
        "volume1mo": number(volume),
        "volume1yr": number(volume),
        "clobTokenIds": encode(found.tokens).decode(),
        "volume24hrClob": number(day),
        "volumeClob": number(volume),
        "liquidityClob": number(liquidity),
        "makerBaseFee": 0,
        "takerBaseFee": 0,
        "acceptingOrders": at < found.close,
        "acceptingOrdersTimestamp": iso(found.listed),
        "negRisk": is_exclusive(found),
        "negRiskRequestID": "",
        "ready": False,
        "funded": False,
        "cyom": False,
        "approved": True,
        "rewardsMinSize": 50,
        "rewardsMaxSpread": 4.5,
        "automaticallyActive": True,
        "clearBookOnStart": True,
        "manualActivation": False,
        "negRiskOther": False,
        "umaResolutionStatuses": encode(_resolutions(found, at)).decode(),
        "pendingDeployment": False,
        "deploying": False,
        "rfqEnabled": False,
        "holdingRewardsEnabled": False,
        "feesEnabled": False,
        "requiresTranslation": False,
    }
    described |= _quotes(book, _change(book, figures.day_ago))
    if is_exclusive(found):
        described["negRiskMarketID"] = hex_of("event", found.event.native_id)
    if closed:
        described["closedTime"] = iso(found.determined)[:19].replace("T", " ") + "+00"
    state = resolution(found, at)
    if state is not None:
        described["umaResolutionStatus"] = state
    return described


def _resolutions(found: Market, at: int) -> list[str]:
    """What its decision went through: the end of it is not among them."""
    state = resolution(found, at)
    if state is None:
        return []
    was_disputed = state == "disputed" or (state == "resolved" and found.number % DISPUTED == 0)
    return ["proposed", "disputed"] if was_disputed else ["proposed"]


def _quotes(book: Book, change: float) -> dict[str, float]:
    """Best prices and moves of the first outcome; what is not there is left out."""
    bid, ask = best(book, True)
    found = {
        "spread": number((ONE if ask is None else ask) - (bid or 0)),
        "bestAsk": number(ONE if ask is None else ask),
    }
    if bid is not None:
        found["bestBid"] = number(bid)
    if book.last_trade is not None:
        found["lastTradePrice"] = number(book.last_trade)
    if change:
        found["oneDayPriceChange"] = change
    return found


def middle(book: Book) -> int:
    """The middle of the first outcome's best prices; a missing bid counts as 0, a missing ask as 1."""
    bid, ask = best(book, True)
    return ((bid or 0) + (ONE if ask is None else ask)) // 2


def _change(book: Book, day_ago: int | None) -> float:
    return 0.0 if day_ago is None or not book.bids or not book.asks else number(middle(book) - day_ago)


def _outcome_prices(found: Market, book: Book, *, is_closed: bool) -> list[str]:
    if is_closed:
        return ["1", "0"] if found.winner == 0 else ["0", "1"]
    mid = middle(book)
    return [f"{number(mid):g}", f"{number(ONE - mid):g}"]

"""Polymarket's messages, made from the model: books of both tokens, level changes, best prices, trades, life.

Both tokens of a market share one pool of orders, so each message about levels is told for both, the second as the
exact complement. Levels stand worst first. Source: CLOB WebSocket, "market channel".
"""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final

from flows.simulator.base import Book, Happening, Level, Market
from flows.simulator.wire import ONE, encode, hex_of, milliseconds, plain

MIN_SIZE: Final = "5"
SECOND_PRINTS: Final = 4
"""One trade in so many is printed on the second token."""

LABELS: Final = {
    "Economics": "Economy",
    "Climate and Weather": "Weather",
    "Entertainment": "Culture",
    "Science and Technology": "Tech",
    "Companies": "Finance",
}
"""The model's categories as this venue's tags; others are named alike."""

Levels = list[dict[str, str]]


def sides(book: Book, is_first: bool) -> tuple[Sequence[Level], Sequence[Level]]:
    """Bids and asks of a token, best first."""
    return (book.bids, book.asks) if is_first else (_mirror(book.asks), _mirror(book.bids))


def best(book: Book, is_first: bool) -> tuple[int | None, int | None]:
    """Best bid and ask of a token."""
    bid, ask = book.bids[0][0] if book.bids else None, book.asks[0][0] if book.asks else None
    if is_first:
        return bid, ask
    return None if ask is None else ONE - ask, None if bid is None else ONE - bid


def is_exclusive(market: Market) -> bool:
    """Whether its event's markets share one stake, which this venue calls negative risk."""
    return market.event.is_exclusive


def rest_book(market: Market, book: Book, is_first: bool, at: int) -> dict[str, Any]:
    """A token's book as REST serves it; `hash` is the SHA-1 of the rest, with `hash` empty."""
    bids, asks = sides(book, is_first)
    whole: dict[str, Any] = {
        "market": market.native_id,
        "asset_id": market.tokens[0 if is_first else 1],
        "timestamp": milliseconds(at),
        "hash": "",
        "bids": _levels(bids),
        "asks": _levels(asks),
        "min_order_size": MIN_SIZE,
        "tick_size": plain(market.tick),
        "neg_risk": is_exclusive(market),
        "last_trade_price": "" if book.last_trade is None else plain(book.last_trade),
    }
    whole["hash"] = sha1(encode(whole), usedforsecurity=False).hexdigest()
    return whole


def dump(market: Market, book: Book, is_first: bool) -> dict[str, Any]:
    """A token's book on subscribing: as of its last change, with tick size and last price."""
    whole = rest_book(market, book, is_first, book.changed)
    del whole["min_order_size"], whole["neg_risk"]
    return whole | {"event_type": "book"}


class Told:
    """The messages of one happening of a market, each encoded once, when first asked for."""

    def __init__(self, happening: Happening) -> None:
        self.market = happening.market
        self._happening = happening
        self._time = milliseconds(happening.time)

    def refresh(self, whole: dict[str, Any]) -> bytes:
        """A token's book after a trade."""
        names = ("market", "asset_id", "timestamp", "hash", "bids", "asks")
        return encode({name: whole[name] for name in names} | {"event_type": "book"})

    def best(self, book: Book, is_first: bool) -> bytes:
        """A token's best prices."""
        bid, ask = best(book, is_first)
        return encode(
            {
                "market": self.market.native_id,
                "asset_id": self.market.tokens[0 if is_first else 1],
                "best_bid": _bid(bid),
                "best_ask": _ask(ask),
                "spread": plain((ONE if ask is None else ask) - (bid or 0)),
                "timestamp": self._time,
                "event_type": "best_bid_ask",
            }
        )

    def changes(self, levels: Sequence[tuple[bool, int, int]], wholes: Sequence[dict[str, Any]], book: Book) -> bytes:
        """Levels' new sizes, each for both tokens, with the best prices after them."""
        tops = [(_bid(bid), _ask(ask)) for bid, ask in (best(book, True), best(book, False))]
        return encode(
            {
                "market": self.market.native_id,
                "price_changes": [
                    {
                        "asset_id": whole["asset_id"],
                        "price": plain(price if place == 0 else ONE - price),
                        "size": plain(size),
                        "side": "BUY" if is_bid is (place == 0) else "SELL",
                        "hash": whole["hash"],
                        "best_bid": tops[place][0],
                        "best_ask": tops[place][1],
                    }
                    for is_bid, price, size in levels
                    for place, whole in enumerate(wholes)
                ],
                "timestamp": self._time,
                "event_type": "price_change",
            }
        )

    def trade(self) -> tuple[bool, bytes]:
        """Whether it is printed on the first token, and the print."""
        printed = printed_trade(self._happening)
        return printed["is_first"], encode(
            {
                "market": self.market.native_id,
                "asset_id": printed["token"],
                "price": plain(printed["price"]),
                "size": plain(self._happening.size),
                "side": printed["side"],
                "fee_rate_bps": "0",
                "timestamp": self._time,
                "transaction_hash": printed["hash"],
                "event_type": "last_trade_price",
            }
        )

    def listed(self) -> bytes:
        """The announcement of a new market; every connection gets it."""
        market, event = self.market, self.market.event
        words = {"slug": event.slug, "title": event.title, "description": rules(market)}
        return encode(
            {
                "id": str(market.number),
                "question": market.title,
                "market": market.native_id,
                "condition_id": market.native_id,
                "slug": market.slug,
                "description": rules(market),
                "assets_ids": market.tokens,
                "clob_token_ids": market.tokens,
                "outcomes": market.outcomes,
                "event_message": {"id": event.native_id, "ticker": event.slug} | words,
                "tags": tags(market),
                "active": True,
                "order_price_min_tick_size": plain(market.tick),
                "group_item_title": market.label,
                "sports_market_type": "",
                "line": "",
                "game_start_time": "",
                "taker_base_fee": "0",
                "fees_enabled": False,
                "timestamp": self._time,
                "event_type": "new_market",
            }
        )

    def resolved(self) -> bytes:
        """The result; every connection gets it."""
        market = self.market
        return encode(
            {
                "id": str(market.number),
                "market": market.native_id,
                "assets_ids": market.tokens,
                "winning_asset_id": market.tokens[market.winner],
                "winning_outcome": market.outcomes[market.winner],
                "event_message": None,
                "tags": tags(market),
                "timestamp": self._time,
                "event_type": "market_resolved",
            }
        )


def tick_size(market: Market, token: str, old: int, at: int) -> bytes:
    """A token's new tick size."""
    return encode(
        {
            "market": market.native_id,
            "asset_id": token,
            "old_tick_size": plain(old),
            "new_tick_size": plain(market.tick),
            "timestamp": milliseconds(at),
            "event_type": "tick_size_change",
        }
    )


def printed_trade(happening: Happening) -> dict[str, Any]:
    """A trade as it is printed: on one of the two tokens, with the transaction's hash."""
    market = happening.market
    is_first = int(happening.trade_id[-2:], 16) % SECOND_PRINTS != 0
    return {
        "is_first": is_first,
        "token": market.tokens[0 if is_first else 1],
        "price": happening.price if is_first else ONE - happening.price,
        "side": "BUY" if happening.is_buy is is_first else "SELL",
        "hash": hex_of("transaction", happening.trade_id),
    }


def tags(market: Market) -> list[str]:
    """The labels of its event, in this venue's words."""
    return list(dict.fromkeys(LABELS.get(tag, tag) for tag in (market.event.category, *market.event.tags)))


def rules(market: Market) -> str:
    """What decides it."""
    return f'This market resolves to "{market.outcomes[0]}" if so it is: {market.title}'


def _mirror(levels: Sequence[Level]) -> list[Level]:
    return [(ONE - price, size) for price, size in levels]


def _levels(best_first: Sequence[Level]) -> Levels:
    return [{"price": plain(price), "size": plain(size)} for price, size in reversed(best_first)]


def _bid(price: int | None) -> str:
    return "0" if price is None else plain(price)


def _ask(price: int | None) -> str:
    return "1" if price is None else plain(price)

"""Polymarket's market channel and its books over REST, as the venue sends them: names and units are its own."""

from typing import Final

import msgspec

from flows.venues.decimals import Number


class Side(msgspec.Struct, gc=False):
    """One level of a book."""

    price: str
    size: str


class BookFrame(msgspec.Struct, tag_field="event_type", tag="book", gc=False):
    """A token's whole book; with `tick_size` it is the dump on subscribing, else a refresh after a trade."""

    market: str
    asset_id: str
    timestamp: str
    bids: list[Side] | None = None
    asks: list[Side] | None = None
    buys: list[Side] | None = None  # the names of before 2024
    sells: list[Side] | None = None
    hash: str = ""
    tick_size: str | None = None


class LevelChange(msgspec.Struct, gc=False):
    """A level's new size, and since September 2025 its token and the best prices after the change."""

    price: str
    size: str
    side: str
    asset_id: str = ""
    hash: str = ""
    best_bid: str | None = None
    best_ask: str | None = None


class PriceChangeFrame(msgspec.Struct, tag_field="event_type", tag="price_change", gc=False):
    """Level changes: `price_changes` today, `changes` before, one flat change in 2024."""

    market: str
    timestamp: str
    price_changes: list[LevelChange] | None = None
    changes: list[LevelChange] | None = None
    asset_id: str = ""
    hash: str = ""
    price: str | None = None
    size: str | None = None
    side: str | None = None


class BestFrame(msgspec.Struct, tag_field="event_type", tag="best_bid_ask", gc=False):
    """A token's best prices."""

    market: str
    asset_id: str
    best_bid: str
    best_ask: str
    timestamp: str


class LastTradeFrame(msgspec.Struct, tag_field="event_type", tag="last_trade_price", gc=False):
    """One match; `side` is the taker's."""

    market: str
    asset_id: str
    price: str
    size: str
    side: str
    timestamp: str
    transaction_hash: str | None = None


class TickSizeFrame(msgspec.Struct, tag_field="event_type", tag="tick_size_change", gc=False):
    """A finer or coarser grid of prices from now on."""

    market: str
    asset_id: str
    new_tick_size: str
    timestamp: str


class NewMarketFrame(msgspec.Struct, tag_field="event_type", tag="new_market", gc=False):
    """A listing; every connection gets each."""

    market: str
    question: str
    assets_ids: list[str]
    outcomes: list[str]
    timestamp: str
    slug: str = ""
    description: str = ""
    event_message: dict[str, object] | None = None
    tags: list[str] | None = None
    order_price_min_tick_size: Number = None


class ResolvedFrame(msgspec.Struct, tag_field="event_type", tag="market_resolved", gc=False):
    """A result."""

    market: str
    assets_ids: list[str]
    winning_asset_id: str
    timestamp: str
    winning_outcome: str = ""


AnyFrame = BookFrame | PriceChangeFrame | BestFrame | LastTradeFrame | TickSizeFrame | NewMarketFrame | ResolvedFrame
FRAME: Final = msgspec.json.Decoder(AnyFrame)
KINDS: Final = frozenset(
    ("book", "price_change", "best_bid_ask", "last_trade_price", "tick_size_change", "new_market", "market_resolved")
)


class Kind(msgspec.Struct, gc=False):
    """Any message, for its kind alone."""

    event_type: str | None = None


KIND: Final = msgspec.json.Decoder(Kind)


class RestBook(msgspec.Struct, gc=False):
    """A book as REST serves it."""

    market: str
    asset_id: str
    bids: list[Side]
    asks: list[Side]
    timestamp: str = ""


REST_BOOK: Final = msgspec.json.Decoder(RestBook)

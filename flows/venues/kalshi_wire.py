"""Kalshi's socket, as the venue sends it: names and units are its own, today's and those of before."""

from typing import Final

import msgspec

from flows.venues.decimals import Number
from flows.venues.kalshi_rest_wire import LEVELS, PriceRange


class TickerMsg(msgspec.Struct, gc=False):
    """Best prices and figures of a market, about once a second; whole cents until March 2026."""

    market_ticker: str
    yes_bid_dollars: str | None = None
    yes_ask_dollars: str | None = None
    yes_bid: int | None = None
    yes_ask: int | None = None
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    volume_fp: str | None = None
    volume: int | None = None
    open_interest_fp: str | None = None
    open_interest: int | None = None
    ts_ms: int | None = None
    ts: int | None = None


class TradeMsg(msgspec.Struct, gc=False):
    """One execution."""

    trade_id: str
    market_ticker: str
    yes_price_dollars: str | None = None
    yes_price: int | None = None
    count_fp: str | None = None
    count: int | None = None
    taker_outcome_side: str | None = None
    taker_side: str | None = None
    is_block_trade: bool = False
    ts_ms: int | None = None
    ts: int | None = None


class SnapshotMsg(msgspec.Struct, gc=False):
    """A whole book; an empty side's key is absent."""

    market_ticker: str
    yes_dollars_fp: LEVELS | None = None
    no_dollars_fp: LEVELS | None = None
    yes_dollars: LEVELS | None = None
    no_dollars: LEVELS | None = None
    yes: list[tuple[int, Number]] | None = None  # whole cents, until March 2026
    no: list[tuple[int, Number]] | None = None


class DeltaMsg(msgspec.Struct, gc=False):
    """A signed change of one level."""

    market_ticker: str
    side: str
    price_dollars: str | None = None
    delta_fp: str | None = None
    price: int | None = None  # whole cents and contracts, until March 2026
    delta: int | None = None
    ts_ms: int | None = None
    ts: str | None = None


class LifecycleMsg(msgspec.Struct, gc=False):
    """A step in a market's life."""

    market_ticker: str
    event_type: str
    open_ts: int | None = None
    close_ts: int | None = None
    result: str | None = None
    price_ranges: list[PriceRange] | None = None
    additional_metadata: dict[str, object] | None = None


class EventMsg(msgspec.Struct, gc=False):
    """A new event."""

    event_ticker: str
    title: str | None = None
    series_ticker: str | None = None
    collateral_return_type: str | None = None


class SubscribedMsg(msgspec.Struct, gc=False):
    """The subscription id of a channel."""

    channel: str
    sid: int


class OkMsg(msgspec.Struct, gc=False):
    """Every market of the subscription after an update; absent where that was not wanted."""

    market_tickers: list[str] | None = None


class ErrorMsg(msgspec.Struct, gc=False):
    """What is wrong."""

    code: int | None = None


class Sequenced(msgspec.Struct, gc=False):
    """A message of a subscription, and its number there, if the channel counts."""

    sid: int = 0
    seq: int | None = None


class TickerFrame(Sequenced, tag_field="type", tag="ticker", kw_only=True, gc=False):
    """Envelope of a ticker; it has no seq."""

    msg: TickerMsg


class TradeFrame(Sequenced, tag_field="type", tag="trade", kw_only=True, gc=False):
    """Envelope of a trade."""

    msg: TradeMsg


class SnapshotFrame(Sequenced, tag_field="type", tag="orderbook_snapshot", kw_only=True, gc=False):
    """Envelope of a snapshot."""

    msg: SnapshotMsg


class DeltaFrame(Sequenced, tag_field="type", tag="orderbook_delta", kw_only=True, gc=False):
    """Envelope of a delta."""

    msg: DeltaMsg


class LifecycleFrame(Sequenced, tag_field="type", tag="market_lifecycle_v2", kw_only=True, gc=False):
    """Envelope of a market's step in life."""

    msg: LifecycleMsg


class EventFrame(Sequenced, tag_field="type", tag="event_lifecycle", kw_only=True, gc=False):
    """Envelope of a new event."""

    msg: EventMsg


class SubscribedFrame(msgspec.Struct, tag_field="type", tag="subscribed", gc=False):
    """The answer to a subscribe, one a channel; it has no seq of its own."""

    msg: SubscribedMsg


class OkFrame(Sequenced, tag_field="type", tag="ok", kw_only=True, gc=False):
    """The answer to an update, with the markets that are left, or a list; it takes a seq of its sid."""

    msg: OkMsg | list[object] | None = None


class UnsubscribedFrame(Sequenced, tag_field="type", tag="unsubscribed", kw_only=True, gc=False):
    """The end of a subscription."""


class ErrorFrame(Sequenced, tag_field="type", tag="error", kw_only=True, gc=False):
    """A refusal, or the end of a subscription."""

    msg: ErrorMsg


AnyFrame = (
    DeltaFrame
    | SnapshotFrame
    | TickerFrame
    | TradeFrame
    | LifecycleFrame
    | EventFrame
    | SubscribedFrame
    | OkFrame
    | UnsubscribedFrame
    | ErrorFrame
)
FRAME: Final = msgspec.json.Decoder(AnyFrame)
KINDS: Final = frozenset(
    ("ticker", "trade", "orderbook_snapshot", "orderbook_delta", "market_lifecycle_v2", "event_lifecycle")
    + ("subscribed", "ok", "unsubscribed", "error")
)


class Kind(Sequenced, gc=False):
    """Any message, for its kind and number alone."""

    type: str | None = None


KIND: Final = msgspec.json.Decoder(Kind)

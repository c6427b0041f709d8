"""Kalshi's REST answers, as the venue sends them: names and units are its own, today's and those of before."""

from typing import Final

import msgspec

from flows.venues.decimals import Number

LEVELS = list[tuple[Number, Number]]
"""Price and count, as sent: strings today."""


class PriceRange(msgspec.Struct, gc=False):
    """A stretch of the price grid."""

    start: str
    end: str
    step: str


class RestMarket(msgspec.Struct, gc=False):
    """The fields of a market that we read."""

    ticker: str
    event_ticker: str | None = None
    title: str | None = None
    yes_sub_title: str | None = None
    status: str | None = None
    result: str | None = None
    open_time: str | None = None
    close_time: str | None = None
    rules_primary: str | None = None
    rules_secondary: str | None = None
    price_ranges: list[PriceRange] | None = None
    tick_size: int | None = None
    yes_bid_dollars: str | None = None
    yes_ask_dollars: str | None = None
    yes_bid: int | None = None
    yes_ask: int | None = None
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    volume_fp: str | None = None
    volume: int | None = None
    volume_24h_fp: str | None = None
    volume_24h: int | None = None
    open_interest_fp: str | None = None
    open_interest: int | None = None


class RestEvent(msgspec.Struct, gc=False):
    """The fields of an event that we read."""

    event_ticker: str
    series_ticker: str | None = None
    title: str | None = None
    category: str | None = None
    mutually_exclusive: bool | None = None


class Nested(msgspec.Struct, gc=False):
    """The markets inside an event."""

    markets: list[msgspec.Raw] | None = None


class RestSeries(msgspec.Struct, gc=False):
    """The fields of a series that we read."""

    ticker: str
    title: str | None = None
    category: str | None = None
    tags: list[str] | None = None


class RestTrade(msgspec.Struct, gc=False):
    """One execution."""

    trade_id: str
    ticker: str
    created_time: str
    yes_price_dollars: str | None = None
    yes_price: int | None = None
    count_fp: str | None = None
    count: int | None = None
    taker_outcome_side: str | None = None
    taker_side: str | None = None
    is_block_trade: bool = False


class RestBook(msgspec.Struct, gc=False):
    """Bids of both legs, each in its own leg's price; whole cents under `yes` and `no` before March 2026."""

    yes_dollars: LEVELS | None | msgspec.UnsetType = msgspec.UNSET
    no_dollars: LEVELS | None | msgspec.UnsetType = msgspec.UNSET
    yes: list[tuple[int, Number]] | None | msgspec.UnsetType = msgspec.UNSET
    no: list[tuple[int, Number]] | None | msgspec.UnsetType = msgspec.UNSET


_NOTHING: Final = msgspec.Raw()


class Answer(msgspec.Struct, gc=False):
    """Any answer: lists become a message an item, single objects one message."""

    markets: list[msgspec.Raw] | None = None
    market: msgspec.Raw = _NOTHING
    events: list[msgspec.Raw] | None = None
    event: msgspec.Raw = _NOTHING
    series: msgspec.Raw = _NOTHING  # a list, or a single one
    trades: list[msgspec.Raw] | None = None
    orderbooks: list[msgspec.Raw] | None = None
    orderbook_fp: RestBook | None = None
    orderbook: RestBook | None = None
    candlesticks: msgspec.Raw = _NOTHING
    ticker: str | None = None  # of a market, and of the book that we were asked for
    event_ticker: str | None = None


class TickerBook(msgspec.Struct, gc=False):
    """A book of a batch."""

    ticker: str
    orderbook_fp: RestBook


ANSWER: Final = msgspec.json.Decoder(Answer)
MARKET: Final = msgspec.json.Decoder(RestMarket)
EVENT: Final = msgspec.json.Decoder(RestEvent)
NESTED: Final = msgspec.json.Decoder(Nested)
SERIES: Final = msgspec.json.Decoder(RestSeries)
LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
TRADE: Final = msgspec.json.Decoder(RestTrade)
BOOK: Final = msgspec.json.Decoder(TickerBook)
OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

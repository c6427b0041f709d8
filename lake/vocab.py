"""The words of this project as types: venues, modes, sides, states and ids.

Everything that is compared as a string in a table is spelled here and nowhere else.
"""

from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NewType

MarketId = NewType("MarketId", str)
"""`"<venue>:<native id>"`: a Polymarket condition id or a Kalshi ticker."""

MarketKey = NewType("MarketKey", int)
"""The signed 64-bit join key of tick tables: see `market_key`."""


class Venue(StrEnum):
    """An exchange that lists markets."""

    POLYMARKET = "polymarket"
    KALSHI = "kalshi"


class Mode(StrEnum):
    """Where rows come from; `polymarket` and `live` share one lake."""

    SIMULATED = "simulated"
    REPLAY = "replay"
    POLYMARKET = "polymarket"
    LIVE = "live"

    @property
    def lake(self) -> str:
        """The name of the lake that holds this mode's rows."""
        return "live" if self is Mode.POLYMARKET else self.value


class MarketStatus(StrEnum):
    """Life of a market. A placeholder (seen in a stream, not in a catalogue) is `initialized`."""

    INITIALIZED = "initialized"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"
    PROPOSED = "proposed"
    DISPUTED = "disputed"
    RESOLVED = "resolved"


OVER: Final = (MarketStatus.CLOSED, MarketStatus.PROPOSED, MarketStatus.DISPUTED, MarketStatus.RESOLVED)
"""A market that is over jumps to 0 or 1, which is no move."""


class Source(StrEnum):
    """What a quote was read from."""

    BOOK = "book"
    TICKER = "ticker"
    REST = "rest"


class TakerSide(StrEnum):
    """Of the first outcome: a taker who sells the second outcome buys the first."""

    BUY = "buy"
    SELL = "sell"


class PriceRule(StrEnum):
    """Which rule a reference price follows (`lake.derived.prices`)."""

    MID = "mid"
    LAST_TRADE = "last_trade"
    VENUE_HISTORY = "venue_history"  # back-filled: shown and labelled, never tiered or alerted


class Gap(StrEnum):
    """Why something was not seen."""

    DISCONNECTED = "disconnected"
    SEQUENCE_HOLE = "sequence_hole"
    BOOK_DAMAGED = "book_damaged"
    UNSUBSCRIBED = "unsubscribed"
    DIRECTION_CHANGED = "direction_changed"
    POLL_MISSED = "poll_missed"
    FEED_ENDED = "feed_ended"
    SILENCE = "silence"
    FROZEN = "frozen"
    OVERLOAD = "overload"
    DISK_RESERVE = "disk_reserve"
    SEGMENT_DAMAGED = "segment_damaged"
    COLLECTOR_DOWN = "collector_down"


SUCCESSOR: Final = "~"
"""Ends the name of every other connection of a stream: `polymarket-3~` takes the place of `polymarket-3`, and back."""


def market_id(venue: Venue, native_id: str) -> MarketId:
    """The market's name across venues."""
    return MarketId(f"{venue.value}:{native_id}")


@lru_cache(maxsize=1 << 16)
def market_key(market: MarketId) -> MarketKey:
    """The first 8 bytes of blake2b(market_id, digest_size=8), big-endian, signed."""
    digest = blake2b(market.encode(), digest_size=8).digest()
    return MarketKey(int.from_bytes(digest, "big", signed=True))

"""A market as Polymarket's order book describes it, read for its result where the catalogue has none.

Source: CLOB API, "market": `tokens` in the order of the outcomes, at most one of them the `winner`.
"""

from typing import Final

import msgspec

from flows.venues.base import MarketUpdate
from flows.venues.fields import said
from lake.errors import BadFrame
from lake.vocab import MarketStatus, Venue, market_id, market_key


class ClobToken(msgspec.Struct, gc=False):
    """One outcome."""

    outcome: str | None = None
    winner: bool | None = None


class ClobMarket(msgspec.Struct, gc=False):
    """The fields of a market that we read."""

    condition_id: str
    closed: bool | None = None
    is_50_50_outcome: bool | None = None
    tokens: list[ClobToken] | None = None


_MARKET: Final = msgspec.json.Decoder(ClobMarket)


def life(raw: bytes) -> MarketUpdate:
    """Status and result of a closed market, no more; raises `BadFrame` without a market, and msgspec's errors."""
    market = _MARKET.decode(raw)
    if not market.condition_id:
        raise BadFrame("condition_id is empty")
    name = market_id(Venue.POLYMARKET, market.condition_id)
    winners = [token.outcome for token in market.tokens or () if token.winner]
    result = winners[0] if len(winners) == 1 else None
    if market.closed and result is None and market.is_50_50_outcome and len(winners) == 2:
        result = "50-50"
    status = None
    if market.closed:
        status = (MarketStatus.CLOSED if result is None else MarketStatus.RESOLVED).value
    return MarketUpdate(
        market_key(name), {"market_id": name, **said(status=status, result=result if market.closed else None)}
    )

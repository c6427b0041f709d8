"""Polymarket's tape of trades over REST, as the venue sends it: names and units are its own.

A row is a taker's fill. Prices are averages of what it met, so they may have many decimals; times are whole seconds.
Source: Data API, "trades".
"""

from typing import Final

import msgspec

from flows.venues.decimals import Number, price, size
from flows.venues.fields import since_epoch
from lake.clock import SECOND_US
from lake.errors import BadFrame


class TapeRow(msgspec.Struct, rename={"condition_id": "conditionId", "transaction_hash": "transactionHash"}, gc=False):
    """One fill, newest first in an answer; `side` is the taker's."""

    condition_id: str
    asset: str
    side: str
    size: Number
    price: Number
    timestamp: int
    transaction_hash: str


_ROW: Final = msgspec.json.Decoder(TapeRow)


class Fill(msgspec.Struct, gc=False):
    """A row that was read: `paid` and `amount` in 1e-6, `event` in microseconds."""

    condition_id: str
    asset: str
    is_buyer: bool
    paid: int
    amount: int
    event: int
    transaction_hash: str


def fill(raw: bytes) -> Fill:
    """One row of the tape. Raises `BadFrame`, msgspec's errors."""
    row = _ROW.decode(raw)
    if row.side not in ("BUY", "SELL"):
        raise BadFrame(f"side {row.side[:20]!r} is neither BUY nor SELL")
    if not row.transaction_hash:
        raise BadFrame("a trade without transactionHash")
    amount = size(row.size)
    if amount == 0:
        raise BadFrame("a trade of size 0")
    event = since_epoch(row.timestamp * SECOND_US)
    return Fill(row.condition_id, row.asset, row.side == "BUY", price(row.price), amount, event, row.transaction_hash)

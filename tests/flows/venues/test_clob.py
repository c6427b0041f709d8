"""What the order book says of a market's end."""

import json

import msgspec
import pytest

from flows.venues.clob import life
from lake.errors import BadFrame
from lake.vocab import Venue, market_id, market_key

WON = [{"outcome": "Yes", "winner": True}, {"outcome": "No", "winner": False}]
BOTH = [{"outcome": "Yes", "winner": True}, {"outcome": "No", "winner": True}]
NONE = [{"outcome": "Yes", "winner": False}, {"outcome": "No", "winner": False}]


@pytest.mark.parametrize(
    ("said", "status", "result"),
    [
        ({"closed": True, "tokens": WON}, "resolved", "Yes"),
        ({"closed": True, "tokens": NONE}, "closed", None),
        ({"closed": True}, "closed", None),
        ({"closed": True, "tokens": BOTH}, "closed", None),
        ({"closed": True, "tokens": BOTH, "is_50_50_outcome": True}, "resolved", "50-50"),
        ({"closed": False, "tokens": WON}, None, None),
        ({"tokens": WON}, None, None),
    ],
)
def test_life(said, status, result):
    """A winner counts only once the market is closed, and only if it is the one; a tie is told as such."""
    found = life(json.dumps({"condition_id": "0xa"} | said).encode())
    assert found.market == market_key(market_id(Venue.POLYMARKET, "0xa"))
    assert (found.fields.get("status"), found.fields.get("result")) == (status, result)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"condition_id":""}', b'{"condition_id":"a","tokens":7}'])
def test_no_market(raw):
    """What names no market is an error."""
    with pytest.raises((BadFrame, msgspec.DecodeError)):
        life(raw)

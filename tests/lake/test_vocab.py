"""`lake.vocab`: ids, and the words that tables hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.vocab import MarketId, Mode, Venue, market_id, market_key


@pytest.mark.parametrize(
    ("market", "key"),
    [
        ("kalshi:KXBTC-26", -871_523_928_243_251_774),
        ("polymarket:0xabc", 8_286_940_071_459_264_227),
    ],
)
def test_market_key_is_what_it_was(market, key):
    """The join key of every stored row never changes: these were computed once, with `printf %s ID | b2sum -l 64`."""
    assert market_key(MarketId(market)) == key


@given(st.text(max_size=80))
def test_market_key_is_a_signed_64_bit_number(text):
    """Any id, of any letters, has a key that an Int64 column holds."""
    assert -(2**63) <= market_key(MarketId(text)) < 2**63


def test_market_keys_have_both_signs():
    """The digest is read as a signed number."""
    keys = [market_key(market_id(Venue.KALSHI, str(number))) for number in range(50)]
    assert min(keys) < 0 < max(keys)


def test_market_id_names_its_venue():
    """The same native id on two venues is two markets."""
    assert market_id(Venue.KALSHI, "A:B") == "kalshi:A:B"
    assert market_key(market_id(Venue.KALSHI, "A")) != market_key(market_id(Venue.POLYMARKET, "A"))


def test_polymarket_and_live_share_a_lake():
    """Every mode has its own lake, but for the two that hold real prices as they come."""
    assert {mode: mode.lake for mode in Mode} == {
        Mode.SIMULATED: "simulated",
        Mode.REPLAY: "replay",
        Mode.POLYMARKET: "live",
        Mode.LIVE: "live",
    }

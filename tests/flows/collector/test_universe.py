"""Which markets are followed, and which history is missing."""

import pytest

from flows.collector.backfill import holes, live_bars
from flows.collector.universe import Listed, entry, rule_of
from flows.venues.base import HISTORY_US, Stats
from lake.clock import MINUTE_US
from lake.settings import load
from lake.vocab import Mode, Venue

P, K = Venue.POLYMARKET, Venue.KALSHI
BAR = HISTORY_US


def one(number: int, volume: float = 0.0, listed: int | None = None) -> Listed:
    return Listed(number, f"M{number}", (), volume, listed)


def test_most_traded():
    """top:N are the most traded of the venue, and those that are named, with or without the venue."""
    found = [one(1, 5), one(2, 50), one(3, 20), one(4), one(5)]
    rule = rule_of(load(collector_universe="top:2", collector_watch="M4,kalshi:M5,polymarket:M1"))
    assert [each.market for each in rule.choose(found, K)] == [2, 3, 4, 5]
    assert (rule.most(2), rule.most(4)) == (3, 5)
    assert rule_of(load(collector_universe="all")).most(4) is None


@pytest.mark.parametrize(
    ("mode", "text", "top"),
    [(Mode.SIMULATED, "", None), (Mode.LIVE, "", 2000), (Mode.LIVE, "all", None), (Mode.SIMULATED, "top:7", 7)],
)
def test_rule(mode, text, top):
    """All of the simulated markets, the most traded of real ones, unless it is set."""
    assert rule_of(load(collector_mode=mode, collector_universe=text)).top == top


@pytest.mark.parametrize(
    ("venue", "fields", "is_followed"),
    [
        (P, {}, True),
        (P, {"status": "closed"}, False),
        (P, {"status": "resolved"}, False),
        (P, {"outcome_token_ids": ["1"]}, False),
        (P, {"outcome_token_ids": None}, False),
        (K, {"market_id": "kalshi:KXA", "outcome_token_ids": None}, True),
        (K, {"market_id": "kalshi:KXMVEA", "outcome_token_ids": None}, False),
        (K, {}, False),
    ],
)
def test_open_markets(venue, fields, is_followed):
    """Open markets of the venue with what subscribing needs; no combinations."""
    known = {"market_id": "polymarket:0xa", "status": "active", "outcome_token_ids": ["1", "2"]} | fields
    assert (entry(1, known, Stats(1, volume_24h_usd=4.0), venue) is not None) is is_followed


# --- history -------------------------------------------------------------------------------------


def test_holes():
    """What a market misses, from its first missing bar to its last; one that was listed late misses less."""
    have = {1: frozenset(range(0, 20 * BAR, BAR)), 2: frozenset(range(0, 10 * BAR, BAR))}
    found = holes([one(1), one(2), one(3), one(4, listed=15 * BAR + 7)], have, frozenset(), 0, 20 * BAR)
    assert [(hole.market.market, hole.start // BAR, hole.end // BAR) for hole in found] == [
        (2, 10, 20), (3, 0, 20), (4, 15, 20),
    ]  # fmt: skip


def test_a_bar_that_a_venue_left_out_is_no_hole():
    """Single bars may be missing; two in a row are a hole, wherever they are."""
    whole = set(range(0, 20 * BAR, BAR))
    have = {1: frozenset(whole - {3 * BAR, 9 * BAR}), 2: frozenset(whole - {3 * BAR, 8 * BAR, 9 * BAR})}
    assert [
        (hole.market.market, hole.start // BAR, hole.end // BAR)
        for hole in holes([one(1), one(2)], have, frozenset(), 0, 20 * BAR)
    ] == [(2, 8, 10)]


def test_live_bars_are_not_asked_for():
    """Where the feed was seen in every minute of a bar there is nothing to fetch."""
    live = live_bars([*range(0, BAR, MINUTE_US), BAR, BAR + MINUTE_US])
    assert live == {0}
    assert [(hole.start, hole.end) for hole in holes([one(1)], {}, live, 0, 3 * BAR)] == [(BAR, 3 * BAR)]

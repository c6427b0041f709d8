"""Which markets are followed, and which history is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.backfill import holes, live_bars
from flows.collector.universe import YOUNG_US, Listed, Rule, entry, rule_of, survey
from flows.collector.versions import Versions
from flows.venues.base import HISTORY_US, Stats
from lake.clock import MINUTE_US
from lake.schema import MARKETS
from lake.settings import load
from lake.vocab import Mode, Venue

P, K = Venue.POLYMARKET, Venue.KALSHI
BAR = HISTORY_US
NOW = 1_790_000_000_000_000


def one(number: int, volume: float = 0.0, listed: int | None = None) -> Listed:
    return Listed(number, f"M{number}", (), volume, listed)


def test_most_traded():
    """top:N are the most traded of the venue, and those that are named, with or without the venue."""
    found = [one(1, 5), one(2, 50), one(3, 20), one(4), one(5)]
    rule = rule_of(load(collector_universe="top:2", collector_watch="M4,kalshi:M5,polymarket:M1"))
    assert [each.market for each in rule.choose(found, K)] == [2, 3, 4, 5]
    assert (rule.most(2), rule.most(4)) == (3, 5)
    assert rule_of(load(collector_universe="all")).most(4) is None


def test_choosing_again():
    """Who is among the most traded comes; who falls out of somewhat more goes, unless it is new, named or closing."""
    rule = Rule(5, frozenset({"M12"}))
    found = [one(number, 100 - number, 0) for number in range(1, 15)]
    found[9] = one(10, 90 - 10, NOW - YOUNG_US + 1)
    followed = {each.market: each for each in (found[1], found[5], found[6], found[9], found[11])} | {99: one(99)}
    again = rule.choose_again(found, followed, {99}, K, NOW)
    assert [each.market for each in again.add] == [1, 3, 4, 5] and again.drop == [99, 7]
    assert rule.choose_again(found, followed, (), K, NOW).drop == [7]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(1, 20), st.randoms(use_true_random=False))
def test_choice_settles(volumes, top, random):
    """Chosen again with the same volumes nothing changes, and the most traded are among what is followed."""
    rule = Rule(top, frozenset())
    found = [one(number, volume, 0) for number, volume in enumerate(volumes)]
    followed = {each.market: each for each in random.sample(found, random.randrange(len(found)))}
    for _ in range(2):
        again = rule.choose_again(found, followed, (), K, NOW)
        followed = {each.market: each for each in (*followed.values(), *again.add) if each.market not in again.drop}
    assert rule.choose_again(found, followed, (), K, NOW) == ([], [])
    assert {each.market for each in rule.choose(found, K)} <= followed.keys()
    assert len(followed) <= rule.staying


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"category": "Politics", "tags": ["Elections"]}, True),
        ({"category": "Sports", "tags": ["POLITICS"]}, True),
        ({"category": "Politics", "tags": ["Tennis"]}, False),
        ({"category": "Crypto", "tags": []}, False),
        ({"category": None, "tags": None}, False),
        ({}, False),
    ],
)
def test_categories(fields, allowed):
    """One of a market's category and tags has to be asked for, and none shut out, whatever their case."""
    settings = load(collector_categories="politics, World", collector_categories_out="TENNIS")
    assert rule_of(settings).allows(fields) is allowed
    assert rule_of(load()).allows(fields)


@pytest.mark.asyncio
async def test_survey_keeps_what_matters():
    """Of top:N the most traded, those followed and those named are found; and who is overdue, or not on the list."""
    markets, stats = Versions(MARKETS, {"tags": []}), dict[int, Stats]()
    for number in range(2_000):
        name, status = f"{'kalshi' if number % 2 else 'polymarket'}:M{number}", "closed" if number == 5 else "active"
        close = NOW - 1 if number in (5, 7) else NOW + 1
        markets.update(number, {"market_id": name, "status": status, "close_time": close}, 0, 0)
        stats[number] = Stats(number, volume_24h_contracts=float(number % 97))
    rule = Rule(10, frozenset({"kalshi:M1"}))
    found = await survey(markets, stats, K, rule, NOW, followed={3}, seen=set(range(1_999)))
    chosen = rule.choose(found.listed, K)
    best = sorted((number for number in range(1, 1_999, 2) if number != 5), key=lambda n: (-(n % 97), f"M{n}"))
    assert [each.market for each in chosen] == [*best[:10], 1]
    assert found.open == 999 and found.overdue == {5: "M5", 7: "M7"} and found.unseen == {1_999: "M1999"}
    assert len(found.listed) == rule.staying + 2


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

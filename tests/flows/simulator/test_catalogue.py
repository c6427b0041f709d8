"""Catalogues of simulated venues: whole walks, filters, and worlds too large to be awake."""

import json
import time
from collections import Counter

import pytest

from flows.simulator import activity, world
from flows.simulator.base import Kind
from flows.simulator.listing import Listing
from flows.simulator.polymarket_objects import DISPUTED, resolution
from flows.simulator.service import Simulation
from flows.simulator.world import SimulatedWorld
from flows.venues.base import Frame, Outcome, Wire
from flows.venues.kalshi import Kalshi
from lake.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, parse_time, to_us
from lake.vocab import Venue
from tests.flows.simulator.conftest import Venues
from tests.flows.simulator.tiny import LATE, SHORT, START

POLY, KALSHI = Venue.POLYMARKET, Venue.KALSHI


@pytest.fixture
def crowded(monkeypatch) -> SimulatedWorld:
    """A small world that is taken for a crowded one."""
    for module in (activity, world):
        monkeypatch.setattr(module, "CROWDED", 100)
    return SimulatedWorld(7, 400, 2.0)


# --- pages ---------------------------------------------------------------------------------------


async def walked(venues: Venues, path: str, items: str, cursor: str, ask: str, **query) -> list[dict]:
    """All pages, with the clock going on between them."""
    found, after = [], None
    for _ in range(200):
        page = await venues.get(path, **query | ({ask: after} if after else {}))
        found += page[items]
        after = page.get(cursor)
        if not after:
            return found
        venues.run(0.2)
    raise AssertionError(f"{path}: no end")


@pytest.mark.asyncio
async def test_a_walk_finds_every_market_once(key):
    """Over pages, while time goes on: all markets that live from its start to its end, none twice."""
    model = SimulatedWorld(7, 120, 10.0)
    simulation = Simulation(model, START, key)
    async with simulation.serving() as ports:
        import httpx

        async with httpx.AsyncClient(verify=False) as http:
            venues = Venues(model, simulation, key, ports, http)
            before = {venue: {each.native_id for each in model.markets(venue, START)} for venue in Venue}
            events = await walked(venues, "/gamma/events/keyset", "events", "next_cursor", "after_cursor", limit=9)
            markets = await walked(
                venues, "/gamma/markets/keyset", "markets", "next_cursor", "after_cursor", limit=20, closed="false"
            )
            nested = await walked(venues, "/events", "events", "cursor", "cursor", limit=9, with_nested_markets="true")
            flat = await walked(
                venues, "/markets", "markets", "cursor", "cursor", limit=30, status="open", mve_filter="exclude"
            )
            volume = await walked(
                venues,
                "/gamma/markets/keyset",
                "markets",
                "next_cursor",
                "after_cursor",
                limit=25,
                closed="false",
                order="volumeNum",
                ascending="false",
            )
    now = {venue: {each.native_id for each in model.markets(venue, simulation.at)} for venue in Venue}
    for ids, venue in (
        ([each["conditionId"] for event in events for each in event["markets"]], POLY),
        ([each["ticker"] for event in nested for each in event["markets"]], KALSHI),
    ):
        assert max(Counter(ids).values()) == 1 and before[venue] & now[venue] <= set(ids)
    open_now = {each.native_id for each in model.markets(POLY, simulation.at) if simulation.at < each.determined}
    for found in (markets, volume):
        ids = [each["conditionId"] for each in found]
        assert max(Counter(ids).values()) == 1 and before[POLY] & open_now <= set(ids)
    assert max(Counter(each["ticker"] for each in flat).values()) == 1 and {each["status"] for each in flat} == {
        "active"
    }


def test_a_listing_follows_what_happens():
    """After markets have come and gone it is as one that is made anew, in the same order."""
    model = SimulatedWorld(7, 120, 20.0)
    listing = Listing(model, POLY, START)
    listing.known()
    for step in range(1, 40):
        at = START + step * 15 * MINUTE_US
        for happening in model.happenings(at - 2 * SECOND_US, at):
            if happening.market.venue is POLY:
                listing.happen(happening)
        for market in model.markets(POLY, at):
            if market.native_id not in listing.by_id:
                listing._add(market)
        listing.move(at)
    fresh = Listing(model, POLY, listing.at)
    assert [each.native_id for each in listing.living()] == [each.native_id for each in fresh.living()]
    ours = [(event.native_id, [each.number for each in markets]) for event, markets in listing.events_after(-1)]
    theirs = [(event.native_id, [each.number for each in markets]) for event, markets in fresh.events_after(-1)]
    assert ours == theirs and len(ours) > 10
    assert all(each.determined > listing.at - DAY_US for each in listing.known())


# --- filters -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_kalshis_filters_by_time(venues):
    """Settled since, changed since, and by ticker: only those, unknown tickers left out."""
    short, late = venues.world.all[6 + SHORT], venues.world.all[6 + LATE]
    venues.run(125)
    seconds = START // SECOND_US
    settled = await venues.get("/markets", min_settled_ts=seconds)
    assert [each["ticker"] for each in settled["markets"]] == [short.native_id]
    assert (await venues.get("/markets", min_settled_ts=seconds + 600))["markets"] == []
    changed = await venues.get("/markets", min_updated_ts=seconds, mve_filter="exclude")
    assert {each["ticker"] for each in changed["markets"]} == {short.native_id, late.native_id}
    assert all(to_us(parse_time(each["updated_time"])) > START for each in changed["markets"])
    events = await venues.get("/events", min_updated_ts=seconds)
    assert {each["event_ticker"] for each in events["events"]} == {short.event.native_id, late.event.native_id}
    named = await venues.get("/markets", tickers=f"{late.native_id},NONE,{short.native_id}")
    assert [each["ticker"] for each in named["markets"]] == [short.native_id, late.native_id]
    assert [each["status"] for each in named["markets"]] == ["finalized", "active"]
    page = await venues.get("/markets", tickers=f"{late.native_id},{short.native_id}", limit=1)
    rest = await venues.get("/markets", tickers=f"{late.native_id},{short.native_id}", limit=1, cursor=page["cursor"])
    assert [page["markets"][0]["ticker"], rest["markets"][0]["ticker"]] == [short.native_id, late.native_id]


@pytest.mark.asyncio
async def test_combos_flood_what_does_not_exclude_them(venues):
    """They stand behind all other open markets, have two legs and no quotes, and no part in `/events`."""
    plain = (await venues.get("/markets", status="open", mve_filter="exclude", limit=1_000))["markets"]
    both = (await venues.get("/markets", status="open", limit=1_000))["markets"]
    only = (await venues.get("/markets", mve_filter="only", limit=1_000))["markets"]
    assert both == plain + only and len(only) == 4 and len(plain) == 5
    assert all(each["ticker"].startswith("KXMVE") and len(each["mve_selected_legs"]) == 2 for each in only)
    assert {(each["yes_bid_dollars"], each["yes_ask_dollars"]) for each in only} == {("0.0000", "1.0000")}
    assert not any(each["event_ticker"].startswith("KXMVE") for each in (await venues.get("/events"))["events"])
    first = await venues.get("/events/multivariate", with_nested_markets="true", limit=3)
    rest = await venues.get("/events/multivariate", with_nested_markets="true", cursor=first["cursor"])
    nested = [market for event in first["events"] + rest["events"] for market in event["markets"]]
    assert nested == only and rest["cursor"] == ""
    page = Kalshi().parse(Frame(0, "c", START, json.dumps({"markets": only}).encode(), Wire.KALSHI_REST))
    assert not any(message.outcome is Outcome.DEAD for message in page)


@pytest.mark.asyncio
async def test_a_decision_is_proposed_and_resolved(venues):
    """By `uma_resolution_status`, and in the market itself; nothing before the close."""
    short = venues.world.all[SHORT]
    query = {"condition_ids": short.native_id}
    assert "umaResolutionStatus" not in (await venues.get("/gamma/markets", **query))[0]
    venues.run(65)
    assert (await venues.get("/gamma/markets", **query))[0]["umaResolutionStatus"] == "proposed"
    proposed = await venues.get("/gamma/markets", uma_resolution_status="proposed")
    assert [each["conditionId"] for each in proposed] == [short.native_id]
    venues.run(30)
    assert await venues.get("/gamma/markets", **query) == []
    resolved = await venues.get("/gamma/markets", closed="true", uma_resolution_status="resolved")
    assert [each["conditionId"] for each in resolved] == [short.native_id]
    assert resolved[0]["outcomePrices"] in ('["1","0"]', '["0","1"]') and resolved[0]["closed"]


def test_some_decisions_are_disputed():
    """One in so many, in the second half of the time up to its result."""
    found = Counter()
    for each in SimulatedWorld(7, 400, 20.0).past(POLY, START):
        states = [resolution(each, at) for at in (each.close - 1, each.close, each.determined - 1, each.determined)]
        assert states[:2] == [None, "proposed"] and states[3] == "resolved"
        found[states[2], each.number % DISPUTED == 0] += 1
    assert set(found) == {("disputed", True), ("proposed", False)}


# --- crowded worlds ------------------------------------------------------------------------------


def test_a_crowded_world_agrees_with_itself(crowded):
    """Books of what happens are the books that are asked for; trades too; a quiet market sleeps for many minutes."""
    end = START + 10 * MINUTE_US
    told = list(crowded.happenings(START, end))
    updates = Counter(each.market.native_id for each in told if each.kind is Kind.BOOK)
    living = [each for venue in Venue for each in crowded.markets(venue, START) if each.close > end]
    asleep = [each for each in living if updates[each.native_id] == 0]
    assert len(asleep) > len(living) / 4 and max(updates.values()) > 10
    last = {each.market.native_id: each.book for each in told if each.kind is Kind.BOOK}
    crowded.prepare(living, end)
    for market in living:
        book = last.get(market.native_id) or crowded.book(market, START)
        then = crowded.book(market, end)
        assert (then.bids, then.asks) == (book.bids, book.asks)
        assert crowded.figures(market, end) == SimulatedWorld.figures(crowded, market, end)
    trades = [each for each in told if each.kind is Kind.TRADE]
    assert len(trades) > 10
    busy = Counter(each.market.native_id for each in trades).most_common(3)
    for name, count in busy:
        market = next(each.market for each in trades if each.market.native_id == name)
        own = crowded.trades(market, START, end)
        assert [each.trade_id for each in own] == [each.trade_id for each in trades if each.market.native_id == name]
        assert len(own) == count
        minutes = crowded.candles([market], START - HOUR_US, end)[0]
        within = minutes.start >= START
        assert minutes.volume[within].sum() >= sum(each.size for each in own) * 0.9
    traded = 0
    for market in living[:40]:
        before = [each.price for each in crowded.trades(market, end - 6 * HOUR_US, end)]
        assert not before or crowded.book(market, end).last_trade == before[-1]
        traded += bool(before)
    assert traded > 5


def test_a_sleeping_market_has_candles(crowded):
    """Each minute without an update has the book of the last one."""
    slept = [each for each in crowded.markets(KALSHI, START) if each.listed < START - 2 * HOUR_US]
    flat = 0
    for market, minutes in zip(slept[:40], crowded.candles(slept[:40], START - HOUR_US, START), strict=True):
        for start, bid in zip(minutes.start.tolist()[::7], minutes.bid.tolist()[::7], strict=True):
            book = crowded.book(market, start + MINUTE_US - 1)
            assert not book.bids or book.bids[0][0] == bid[3]
            if crowded.book(market, start - 1).changed == book.changed:
                assert len(set(bid)) == 1
        flat += len(minutes.start) > 1 and len(set(minutes.bid[:, 3].tolist())) == 1
    assert flat > 5


def test_prepared_figures_are_the_same(monkeypatch):
    """Those of a day ago too, whether they are drawn for all slots, for some, or for one."""
    plain = SimulatedWorld(7, 200, 20.0)
    wanted = {each.native_id: plain.figures(each, START) for each in plain.markets(POLY, START)}
    for module in (activity, world):
        monkeypatch.setattr(module, "CROWDED", 10_000)
    one, some = SimulatedWorld(7, 200, 20.0), SimulatedWorld(7, 200, 20.0)
    monkeypatch.setattr(world, "CROWDED", 10)
    some.prepare(some.markets(POLY, START), START)
    for each in one.markets(POLY, START):
        assert one.figures(each, START) == some.figures(each, START) == wanted[each.native_id]
    then, drawn = (START - DAY_US) // (10 * MINUTE_US) * 10 * MINUTE_US, 0
    for each in plain.markets(POLY, START):
        ago = wanted[each.native_id].day_ago
        if ago is not None:
            book = plain.book(each, then)
            assert ago == (book.bids[0][0] + book.asks[0][0]) // 2
            drawn += 1
    assert drawn > 20


@pytest.mark.soak
@pytest.mark.asyncio
async def test_a_catalogue_of_300_000_markets(key):
    """It is there within a minute of CPU, and a page costs less than 0.15 s of it, the client's share included."""
    import httpx

    start = round(time.time() * 1_000_000)
    began = time.process_time()
    model = SimulatedWorld(7, 300_000, 500.0)
    simulation = Simulation(model, start, key)
    assert time.process_time() - began < 60
    async with simulation.serving() as ports, httpx.AsyncClient(verify=False, timeout=60) as http:
        venues = Venues(model, simulation, key, ports, http)
        for path, cursor, ask, query in (
            ("/gamma/events/keyset", "next_cursor", "after_cursor", {"limit": 100, "closed": "false"}),
            ("/events", "cursor", "cursor", {"limit": 200, "with_nested_markets": "true", "status": "open"}),
        ):
            after, costs = None, []
            for _ in range(12):
                began = time.process_time()
                page = await venues.get(path, **query | ({ask: after} if after else {}))
                costs.append(time.process_time() - began)
                after = page[cursor]
            assert sorted(costs)[len(costs) // 2] < 0.15

"""What is followed: at once where the lake knows enough, soon where it does not, and again as things change."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from flows.collector.connection import Link
from flows.collector.following import MISSES, Following
from flows.collector.intake import Intake
from flows.collector.journal import Frame as Item
from flows.collector.making import catalog_name, live_pipeline
from flows.collector.places import Place, PlaceFile
from flows.collector.segments import Segment
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import Listed, Rule
from flows.venues.base import Stats
from lake.schema import MARKETS
from lake.vocab import Venue, market_id, market_key
from tests.flows.collector.catalogues import NOW, QUICK, SECOND, Catalogues, One, serving
from tests.flows.collector.venues import until

P, K = Venue.POLYMARKET, Venue.KALSHI
VENUES = pytest.mark.parametrize("venue", [P, K])
CALM = replace(QUICK, catalog_every=60, sweep_every=60, choose_every=60)
LAST = Rule(None, frozenset())


def native(venue: Venue, one: One) -> str:
    return one.condition if venue is P else one.ticker


def key(venue: Venue, one: One) -> int:
    return market_key(market_id(venue, native(venue, one)))


@dataclass
class Follower:
    """Who follows, and what it was told."""

    followed: dict[int, Listed] = field(default_factory=dict)
    told: list[tuple[str, set[int]]] = field(default_factory=list)

    async def follow(self, markets: list[Listed]) -> None:
        self.followed |= {one.market: one for one in markets}
        self.told.append(("follow", {one.market for one in markets}))

    async def unfollow(self, markets: Iterable[int]) -> None:
        gone = [market for market in markets if self.followed.pop(market, None) is not None]
        self.told.append(("unfollow", set(gone)))


class Run:
    """A venue's following: real requests, a real pipeline, and a clock that is set."""

    def __init__(self, venue: Venue, server: Catalogues, folder: Path, rule: Rule, timing: Timing) -> None:
        self.venue = venue
        self.now = NOW
        self.lines: list[str] = []
        self.sealed: list[Segment] = []
        self.heard: dict[int, dict[str, Any]] = {}
        self.items: list[Any] = []
        clock = Clock(wall=lambda: self.now)
        self.intake = Intake(0, clock, withheld=[catalog_name(venue)])
        self.pipeline = live_pipeline(self.sealed.append, 30, listener=self)
        self.follower = Follower()
        link = Link(self.intake, clock, timing, Random(1), Limiter(1), self.lines.append, lambda *_: None)
        self.file = PlaceFile(folder, "main", venue)
        http, books = server.http(), server.http() if venue is P else None
        self.make = lambda: Following(venue, self.follower, link, self.pipeline, rule, http, books, self.file)
        self.following = self.make()
        self.tasks: list[asyncio.Task[None]] = []

    def market_changed(self, venue: Venue, market: int, fields: Any) -> None:
        self.heard.setdefault(market, {}).update(fields)

    def books_lost(self, *_: Any) -> None: ...

    def minute_ended(self, *_: Any) -> None: ...

    async def consume(self) -> None:
        while True:
            while (item := self.intake.take()) is not None:
                self.items.append(item)
                self.pipeline.take(item)
            await asyncio.sleep(0.001)

    def know(self, *markets: One) -> None:
        """The lake knows these from before."""
        for one in markets:
            fields = dict.fromkeys(MARKETS.columns) | {
                "market_id": market_id(self.venue, native(self.venue, one)), "status": "active",
                "outcome_token_ids": ["1", "2"] if self.venue is P else None, "tags": [],
            }  # fmt: skip
            self.pipeline.markets.know(key(self.venue, one), fields)
            self.pipeline.stats[key(self.venue, one)] = Stats(key(self.venue, one), volume_24h_usd=one.volume)

    async def start(self) -> set[int]:
        """Choose first, as a session does, and keep the catalogue; the keys of those that can be followed."""
        known = await self.following.known()
        self.tasks.append(asyncio.create_task(self.following.read()))
        found = known or await self.following.first()
        chosen = self.following._rule.choose(found.listed, self.venue)
        self.follower.followed = {one.market: one for one in chosen}
        return set(self.follower.followed)

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@asynccontextmanager
async def running(
    venue: Venue, server: Catalogues, folder: Path, rule: Rule = LAST, timing: Timing = CALM, *, whole: int = 0
) -> AsyncIterator[Run]:
    """With a consumer; `whole` is when the catalogue was read by a former life."""
    if whole:
        PlaceFile(folder, "main", venue).save(Place(whole=whole, changed=whole, newest=100))
    run = Run(venue, server, folder, rule, timing)
    run.tasks.append(asyncio.create_task(run.consume()))
    try:
        yield run
    finally:
        for task in run.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def some(count: int) -> list[One]:
    return [One(number, volume=number) for number in range(1, count + 1)]


@VENUES
@pytest.mark.asyncio
async def test_without_a_lake(venue, tmp_path):
    """A small catalogue is read to its end first, and then everything that is asked for is followed."""
    async with serving(*some(8)) as server, running(venue, server, tmp_path, Rule(3, frozenset())) as run:
        assert await run.start() == {key(venue, one) for one in some(8)[5:]}
        assert not run.lines


def down(request: web.Request) -> web.Response:
    return web.Response(status=503)


@VENUES
@pytest.mark.asyncio
async def test_with_a_lake(venue, tmp_path):
    """What the lake knows from a short time ago is followed before the venue has answered anything."""
    rule, whole = Rule(3, frozenset()), NOW - 3_600 * SECOND
    async with serving() as server, running(venue, server, tmp_path, rule, whole=whole) as run:
        server.answers = dict.fromkeys(("/series", "/events", "/events/keyset", "/markets", "/markets/keyset"), down)
        run.know(*some(8))
        assert await run.start() == {key(venue, one) for one in some(8)[5:]}
        assert run.said("known from before")


@VENUES
@pytest.mark.asyncio
async def test_with_a_lake_that_lost_what_was_read(venue, tmp_path):
    """Where the catalogue was read a short time ago and the lake knows no market, it is read again."""
    async with serving(*some(4)) as server, running(venue, server, tmp_path, whole=NOW - 60 * SECOND) as run:
        assert await run.start() >= {key(venue, one) for one in some(4)}
        assert not run.said("known from before")


@VENUES
@pytest.mark.asyncio
async def test_with_an_old_lake(venue, tmp_path):
    """What the lake knew two days ago is no reason to follow: the catalogue is read first."""
    whole = NOW - 2 * 86_400 * SECOND
    async with serving(*some(4)) as server, running(venue, server, tmp_path, whole=whole) as run:
        run.know(One(77))
        assert await run.start() >= {key(venue, one) for one in some(4)}
        assert not run.said("known from before")


@pytest.mark.asyncio
async def test_long_walk(tmp_path):
    """A first walk that takes long: the most traded are followed meanwhile, and the rest once it is over."""
    gate = asyncio.Event()
    markets = [*some(10), *(One(number) for number in range(11, 40))]
    rule = Rule(20, frozenset())
    async with serving(*markets) as server, running(P, server, tmp_path, rule) as run:
        listing = run.following._keeper._catalog

        async def slow(place: Place) -> AsyncIterator[Any]:
            await gate.wait()
            async for page in type(listing).walk(listing, place):
                yield page

        listing.walk = slow
        assert await run.start() >= {key(P, one) for one in some(10)} and run.said("it takes a while")
        assert len(run.follower.followed) < 20
        choosing = asyncio.create_task(run.following.choose())
        gate.set()
        await until(lambda: len(run.follower.followed) == 20)
        choosing.cancel()
        assert [what for what, _ in run.follower.told] == ["follow"]


@VENUES
@pytest.mark.asyncio
async def test_changes_reach_the_listener(venue, tmp_path):
    """What an incremental reading tells goes through the intake, recorded whole, and the session hears of it."""
    timing = replace(CALM, catalog_every=0.05)
    async with serving(*some(4)) as server, running(venue, server, tmp_path, timing=timing) as run:
        await run.start()
        assert run.heard == {}
        run.now += 60 * SECOND
        server.markets[2].updated = run.now
        server.markets[2].closed, server.markets[2].status = run.now, "finalized"
        server.markets[2].uma, server.markets[2].prices, server.markets[2].result = "resolved", ("1", "0"), "yes"
        server.add(new := One(5, updated=run.now, listed=run.now))
        await until(lambda: key(venue, One(2)) in run.heard and key(venue, new) in run.heard)
        over = run.pipeline.markets.get(key(venue, One(2)))
        assert (over["status"], over["result"]) == ("resolved", "Yes")
        names = {item.connection for item in run.items if isinstance(item, Item)}
        assert names == {f"{venue.value}-catalog", f"{venue.value}-sweep"}
        run.pipeline.finish(run.now)
    tables = {table.name for segment in run.sealed for table, _ in segment.rows}
    assert {"markets", "venue_stats"} <= tables and "quotes" not in tables


@VENUES
@pytest.mark.asyncio
async def test_sweep(venue, tmp_path):
    """Followed markets, those past their close and those that left the venue's list are asked for; results are rows."""
    async with serving(*some(6)) as server, running(venue, server, tmp_path, Rule(2, frozenset())) as run:
        server.markets[1].close = NOW - 3_600 * SECOND
        await run.start()
        for number in (1, 5):
            one = server.markets[number]
            one.closed, one.status, one.uma, one.prices, one.result = NOW, "finalized", "resolved", ("0", "1"), "no"
        server.asked.clear()
        swept = await run.following.sweep_once()
        await run.intake.consumed()
        assert swept.asked == {native(venue, One(number)) for number in (1, 5, 6)} == swept.told
        for number in (1, 5):
            fields = run.pipeline.markets.get(key(venue, One(number)))
            assert (fields["status"], fields["result"]) == ("resolved", "No")
        assert run.heard[key(venue, One(5))]["status"] == "resolved"
        assert native(venue, One(1)) not in (await run.following.sweep_once()).asked


@VENUES
@pytest.mark.asyncio
async def test_market_that_left_the_list(venue, tmp_path):
    """Open in the lake and not in the whole catalogue: it is not followed anew, and asked for by name."""
    async with serving(*some(3)) as server, running(venue, server, tmp_path) as run:
        run.know(gone := One(50))
        server.add(gone)
        gone.closed, gone.status, gone.uma, gone.prices, gone.result = NOW, "finalized", "resolved", ("1", "0"), "yes"
        await run.start()
        await run.following._choose_again()
        assert native(venue, gone) in (await run.following.sweep_once()).told
        await run.intake.consumed()
        assert run.pipeline.markets.get(key(venue, gone))["status"] == "resolved"


@VENUES
@pytest.mark.asyncio
async def test_market_that_nobody_knows(venue, tmp_path):
    """The venue knows nothing of a market in three rounds: it is followed no longer; in two it still is."""
    async with serving(*some(3)) as server, running(venue, server, tmp_path) as run:
        await run.start()
        server.markets.pop(2)
        for count in range(1, MISSES + 1):
            await run.following.sweep_once()
            assert (key(venue, One(2)) in run.follower.followed) is (count < MISSES)
        assert run.follower.told == [("unfollow", {key(venue, One(2))})] and run.said("knows nothing of 1 markets")


@pytest.mark.asyncio
async def test_rounds_take_turns(tmp_path, monkeypatch):
    """Where more are followed than one round takes, every one has its turn."""
    monkeypatch.setattr("flows.collector.following.ROUND", 1)
    monkeypatch.setattr("flows.collector.lifecycle.TICKERS", 2)
    async with serving(*some(5)) as server, running(K, server, tmp_path) as run:
        await run.start()
        asked = [frozenset((await run.following.sweep_once()).asked) for _ in range(5)]
        assert all(len(each) == 2 for each in asked)
        assert set().union(*asked[:3]) == {one.ticker for one in some(5)}


@VENUES
@pytest.mark.asyncio
async def test_categories(venue, tmp_path):
    """Only categories that are asked for are followed; one that there is not is told with what there is."""
    markets = [One(1, tags=("Politics",)), One(2, tags=("Crypto",)), One(3, tags=("Sports",))]
    rule = Rule(None, frozenset(), frozenset({"crypto", "politics", "opera"}), frozenset({"politics"}))
    async with serving(*markets) as server, running(venue, server, tmp_path, rule) as run:
        assert await run.start() == {key(venue, markets[1])}
        lines = [line for line in run.lines if "COLLECTOR_CATEGORIES" in line]
        assert len(lines) == 1 and "opera" in lines[0] and "Sports" in lines[0] and "politics" not in lines[0]
        await run.following._choose_again()
        assert sum("COLLECTOR_CATEGORIES" in line for line in run.lines) == 1


@pytest.mark.asyncio
async def test_volumes_change(tmp_path):
    """What is the most traded now is followed now; what is at the edge stays; sockets are told of both, no more."""
    rule = Rule(5, frozenset())
    async with serving(*some(20)) as server, running(P, server, tmp_path, rule) as run:
        assert await run.start() == {key(P, One(number)) for number in range(16, 21)}
        server.markets[1].volume, server.markets[16].volume = 100, 15.5
        await run.following._keeper.lead(20, asyncio.Event())
        await run.following._choose_again()
        assert run.follower.told == [("follow", {key(P, One(1))})]
        server.markets[16].volume = 0.5
        await run.following._keeper.lead(20, asyncio.Event())
        await run.following._choose_again()
        assert run.follower.told[1:] == [("unfollow", {key(P, One(16))})]
        assert run.said("5 of 20 open markets followed now")

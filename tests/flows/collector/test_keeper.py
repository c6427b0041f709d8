"""A catalogue is read whole once, then by what changed; what breaks off goes on; filters are not believed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest
from aiohttp import web

from flows.collector.catalog import Catalog, Page, Untrusted
from flows.collector.http import Http
from flows.collector.keeper import Keeper, Pass
from flows.collector.places import YOUNG_US, Place, PlaceFile, last_passes
from flows.collector.timing import Clock, Timing
from flows.venues.base import Wire
from lake.vocab import Venue, market_id, market_key
from tests.flows.collector.catalogues import NOW, QUICK, SECOND, Catalogues, One, serving

P, K = Venue.POLYMARKET, Venue.KALSHI
VENUES = pytest.mark.parametrize("venue", [P, K])


@dataclass
class Reader:
    """One venue's reader with a clock of its own, and what it got."""

    venue: Venue
    http: Http
    file: PlaceFile
    now: int = NOW
    pages: list[Page] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    events: set[str] = field(default_factory=set)
    put: Callable[[Page], None] = lambda page: None
    made: Keeper | None = None

    def keeper(self, timing: Timing = QUICK) -> Keeper:
        clock = Clock(wall=lambda: self.now)
        catalog = Catalog(self.http, self.venue, clock, self.events.__contains__)
        self.made = Keeper(
            catalog, self.file, self.take, clock=clock, timing=timing, rng=Random(1), say=self.lines.append
        )

        return self.made

    async def take(self, page: Page) -> None:
        if self.made is not None and self.made._keeping is not None:
            await self.made._keeping
        self.put(page)
        self.pages.append(page)

    def named(self) -> set[int]:
        found = {market for page in self.pages for market in page.markets}
        self.pages.clear()
        return found


def reader(venue: Venue, server: Catalogues, folder: Path) -> Reader:
    return Reader(venue, server.http(), PlaceFile(folder, "main", venue))


def keys(venue: Venue, *markets: One) -> set[int]:
    names = (one.condition if venue is P else one.ticker for one in markets)
    return {market_key(market_id(venue, name)) for name in names}


def some(count: int) -> list[One]:
    return [One(number, volume=number) for number in range(1, count + 1)]


@VENUES
@pytest.mark.asyncio
async def test_walk_then_changes(venue, tmp_path):
    """The first reading is everything; the next ones are only what is new, other, closed, and cost a few requests."""
    markets = some(10)
    async with serving(*markets) as server:
        it = reader(venue, server, tmp_path)
        keeper = it.keeper()
        walk = await keeper.step()
        assert walk.is_walk and walk.fault is None and walk.seen == it.named() == keys(venue, *markets)
        server.asked.clear()
        it.now += 60 * SECOND
        quiet = await keeper.step()
        assert not quiet.is_walk and quiet.fault is None and not it.named() and len(server.asked) <= 5
        markets[2].updated = markets[3].updated = it.now
        markets[2].closed, markets[2].status = it.now, "determined"
        markets[3].uma = "proposed"
        server.add(new := One(11, tags=("Crypto",), listed=it.now, updated=it.now))
        it.now += 60 * SECOND
        assert (await keeper.step()).fault is None
        assert all(page.is_change and page.wire is not Wire.GAMMA_PAGES for page in it.pages)
        assert it.named() == keys(venue, markets[2], markets[3], new)
        assert it.lines == []


@pytest.mark.asyncio
async def test_family_comes_before_its_market(tmp_path):
    """A new market of an unknown event: its series first, then the event, then itself; of a known one alone."""
    async with serving(One(1)) as server:
        it = reader(K, server, tmp_path)
        keeper = it.keeper()
        await keeper.step()
        it.pages.clear()
        server.add(One(2, tags=("Weather",), updated=it.now))
        await keeper.step()
        told = [next(word for word in (b'"category"', b'"series_ticker"', b'"ticker"') if word in page.payload)
                for page in it.pages]  # fmt: skip
        assert told == [b'"category"', b'"series_ticker"', b'"ticker"']
        it.events.add("kalshi:KXACME-2")
        it.pages.clear()
        await keeper.step()
        assert len(it.pages) == 1


@pytest.mark.parametrize(
    ("venue", "ignored", "word"),
    [(K, "min_updated_ts", "min_updated_ts"), (P, "ascending", "order=id"), (P, "uma_resolution_status", "uma_res")],
)
@pytest.mark.asyncio
async def test_filter_that_is_ignored(venue, ignored, word, tmp_path):
    """An answer that does not keep to what was asked for is noticed, told once, and all of it is read more often."""
    timing = replace(QUICK, walk_every=3_600, walk_every_untrusted=900)
    async with serving(*some(10)) as server:
        it = reader(venue, server, tmp_path)
        keeper = it.keeper(timing)
        await keeper.step()
        server.ignores = {ignored}
        it.now += 60 * SECOND
        for _ in range(3):
            assert not (await keeper.step()).is_walk
        assert len(it.lines) == 1 and word in it.lines[0] and "every 15 min" in it.lines[0]
        it.now += 900 * SECOND
        assert (await keeper.step()).is_walk


@pytest.mark.asyncio
async def test_other_changes_come_although_one_filter_is_ignored(tmp_path):
    """New listings and proposals are still told where closed markets cannot be asked for."""
    async with serving(*some(10)) as server:
        it = reader(P, server, tmp_path)
        keeper = it.keeper()
        await keeper.step()
        it.pages.clear()

        def refuse(request: web.Request) -> web.Response | None:
            return web.json_response({}, status=422) if request.query.get("order") == "closedTime" else None

        server.answers["/markets/keyset"] = refuse
        server.markets[4].uma = "disputed"
        server.add(new := One(11))
        assert (await keeper.step()).fault is None
        assert it.named() == keys(P, server.markets[4], new)
        assert len(it.lines) == 1 and "closed markets" in it.lines[0] and "422" in it.lines[0]


class Killed(Exception):
    pass


@VENUES
@pytest.mark.asyncio
async def test_walk_that_was_broken_off_goes_on(venue, tmp_path, monkeypatch):
    """Killed in the middle, the next life begins behind the last page that was kept; late, at the first."""
    monkeypatch.setattr("flows.collector.keeper.SAVE_US", 0)
    markets = some(12)
    async with serving(*markets) as server:
        it = reader(venue, server, tmp_path)
        count = 0

        def kill(page: Page) -> None:
            nonlocal count
            count += bool(page.markets)
            if count == 3:
                raise Killed

        it.put = kill
        keeper = it.keeper()
        with pytest.raises(Killed):
            await keeper.step()
        before = it.named()
        assert before == keys(venue, *markets[:6])
        it.put = lambda page: None
        for late, left in ((0, markets[6:]), (YOUNG_US, markets)):
            kept = PlaceFile(tmp_path, "main", venue)
            it.file = PlaceFile(tmp_path / str(late), "main", venue)
            it.file.save(kept.load())
            it.now = NOW + late
            found = await it.keeper().step()
            assert found.fault is None and it.named() == keys(venue, *left)
            assert (found.seen is None) is (late == 0)
            assert any("goes on behind page 2, 6 markets" in line for line in it.lines) is (late == 0)
            it.lines.clear()


@pytest.mark.asyncio
async def test_place_is_kept_behind_what_is_safe(tmp_path):
    """A place is in its file only once all that was read before it is in the lake, however long that takes."""
    safe = asyncio.Event()
    async with serving(*some(4)) as server:
        it = reader(P, server, tmp_path)
        keeper = it.keeper()
        keeper._settle = safe.wait
        task = asyncio.create_task(keeper.step())
        async with asyncio.timeout(5):
            while not keeper.place.whole:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert it.file.load() == Place()
        safe.set()
        assert (await task).fault is None and it.file.load().whole == NOW


@pytest.mark.asyncio
async def test_cursor_that_is_refused(tmp_path):
    """A cursor that the venue does not take any more is forgotten: the walk begins again."""
    async with serving(*some(10)) as server:
        it = reader(P, server, tmp_path)
        it.file.save(Place(began=NOW, cursor="stale", at=NOW, pages=1))

        def refuse(request: web.Request) -> web.Response | None:
            is_stale = request.query.get("after_cursor") == "stale"
            return web.json_response({}, status=400) if is_stale else None

        server.answers["/events/keyset"] = refuse
        keeper = it.keeper()
        assert (await keeper.step()).fault is not None
        found = await keeper.step()
        assert found.is_walk and found.fault is None and found.seen == keys(P, *server.markets.values())


@pytest.mark.asyncio
async def test_run_asks_again(tmp_path):
    """A venue that is down is asked again, and goes on where it was; one line tells it, not one a try."""
    failing = True

    def answer(request: web.Request) -> web.Response | None:
        is_far = request.query.get("after_cursor") == "6"
        return web.Response(status=503) if failing and is_far else None

    async with serving(*some(10)) as server:
        server.answers["/events/keyset"] = answer
        it = reader(P, server, tmp_path)
        keeper, passes = it.keeper(), asyncio.Queue[Pass]()
        task = asyncio.create_task(keeper.run(passes.put, 0, asyncio.Event()))
        async with asyncio.timeout(5):
            while not it.lines:
                await asyncio.sleep(0.01)
            failing = False
            done = await passes.get()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert done.is_walk and done.fault is None and done.seen is None
        assert it.named() == keys(P, *server.markets.values())
        assert sum("again in" in line for line in it.lines) <= 3
        assert Counted(server).of("/events/keyset", after_cursor="3") == 1


class Counted:
    def __init__(self, server: Catalogues) -> None:
        self.server = server

    def of(self, path: str, **query: str) -> int:
        return sum(asked == path and query.items() <= params.items() for asked, params in self.server.asked)


@pytest.mark.asyncio
async def test_most_traded_come_first(tmp_path):
    """Before a first walk the most traded are read, as many as are wanted; an order that is none is not believed."""
    async with serving(*some(10)) as server:
        it = reader(P, server, tmp_path)
        await it.keeper().lead(4, asyncio.Event())
        assert it.named() == keys(P, *some(10)[4:])
        server.ignores = {"order", "ascending"}
        await it.keeper().lead(4, asyncio.Event())
        assert it.named() == set()
        listing = Catalog(server.http(), P, Clock(), lambda event: False)
        with pytest.raises(Untrusted, match="volume24hr"):
            _ = [page async for page in listing.leaders(4)]


@pytest.mark.asyncio
async def test_progress(tmp_path):
    """A walk that lasts tells how far it is, of as many as there were the last time."""
    async with serving(*some(12)) as server:
        it = reader(P, server, tmp_path)
        it.file.save(Place(expected=12))

        def pass_time(page: Page) -> None:
            it.now += 16 * SECOND

        it.put = pass_time
        await it.keeper().step()
        assert it.lines == [f"catalogue: {n} markets read, {n * 100 // 12} %" for n in (3, 6, 9, 12)]


def test_place_that_cannot_be_read(tmp_path):
    """A torn or foreign file is a fresh start; a good one comes back as it was, and says who read last."""
    file = PlaceFile(tmp_path, "main", P)
    assert file.load() == Place()
    kept = Place(began=1, cursor="x", at=2, pages=3, markets=4, whole=5, expected=6, changed=7, newest=8, passed=9)
    file.save(kept)
    assert file.load() == kept and PlaceFile(tmp_path, "main", K).load() == Place()
    assert last_passes(tmp_path, "catalog") == {P: ("main", 9)} and last_passes(tmp_path, "main") == {}
    (path,) = (tmp_path / "catalog").iterdir()
    for text in ("", "{", '{"began":"x"}', "[]", "\0\0"):
        path.write_text(text)
        assert file.load() == Place()

"""What a lake missed is filled over real HTTP from the simulated venues: whole, once, and from where it broke off."""

import json
import os
import shutil
from collections import Counter
from datetime import timedelta
from random import Random

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flows.collector import tapes
from flows.collector.backfill import missed_trades
from flows.collector.connection import Link
from flows.collector.http import Http
from flows.collector.intake import Intake
from flows.collector.pipeline import Pipeline
from flows.collector.sealing import publish
from flows.collector.segments import Segment
from flows.collector.timing import Clock, Limiter, Timing
from flows.jobs.answered import FILE
from flows.jobs.backfill import Wanted, backfill
from flows.jobs.catalog import sync_catalog
from flows.jobs.found import gap_rows
from flows.jobs.holes import Gap as HeldGap
from flows.jobs.maintenance import maintain
from flows.jobs.refresh import refresh_bars
from flows.simulator.base import Kind
from flows.venues.base import Closed, Frame, Opened, Trade, Wire
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake import retain
from lake.clock import HOUR_US, SECOND_US, from_us
from lake.derived.prices import distinct_gaps
from lake.errors import LakeError, SettingError
from lake.lease import sole
from lake.schema import BARS, GAPS, HISTORY, MARKETS, SEGMENTS, TRADES
from lake.settings import load
from lake.store import Store
from lake.verify.apart import Apart
from lake.verify.findings import Severity
from lake.verify.survey import survey
from lake.vocab import Gap, Mode, Venue, market_id, market_key
from tests.flows.simulator.conftest import key, until_ok, until_pong, venues  # noqa: F401
from tests.flows.simulator.tiny import START

pytestmark = pytest.mark.asyncio

SINCE, UNTIL = START - 240 * SECOND_US, START + 360 * SECOND_US  # edges of bars: two of them
NOW = START + 600 * SECOND_US
WANTED = Wanted(from_us(SINCE), from_us(UNTIL))
SECONDS = 180  # in which the tiny world lives
P, K = Venue.POLYMARKET, Venue.KALSHI


class World:
    """The venues, and lakes that know their markets."""

    def __init__(self, simulated, tmp_path) -> None:
        self.venues = simulated
        self.settings = load(
            simulator_polymarket_port=simulated.ports[0],
            simulator_kalshi_port=simulated.ports[1],
            wss_reconnect_delay=0.001,
        )
        self.clock = Clock(wall=lambda: max(NOW, simulated.simulation.at))
        self._tmp_path = tmp_path
        self.lakes = 0

    def empty(self) -> Store:
        """A new lake."""
        self.lakes += 1
        return Store.create(self._tmp_path / f"lake{self.lakes}", Mode.SIMULATED)

    async def lake(self) -> Store:
        """A new lake with both catalogues, as they are now."""
        store = self.empty()
        await sync_catalog(self.settings, store)
        return store

    def end(self) -> None:
        """All has happened."""
        self.venues.simulation.advance(NOW)

    async def fill(self, store: Store, wanted: Wanted = WANTED, **given):
        return await backfill(self.settings, store, wanted, clock=self.clock, **given)

    def trades(self, venue: Venue | None = None) -> Counter:
        """What was traded: market, price, contracts, side."""
        told = self.venues.world.happenings(START, NOW)
        return Counter(
            (each.market.native_id, each.price / 1e6, each.size / 1e6, "buy" if each.is_buy else "sell")
            for each in told
            if each.kind is Kind.TRADE and venue in (None, each.market.venue)
        )

    def stored(self, store: Store) -> Counter:
        """The same, of the rows in the lake."""
        names = {market_key(market_id(each.venue, each.native_id)): each.native_id for each in self.venues.world.all}
        rows = store.scan(TRADES).select("market_key", "price", "size", "taker_side").collect()
        return Counter((names[row[0]], *row[1:]) for row in rows.iter_rows())


@pytest.fixture
def world(venues, tmp_path) -> World:  # noqa: F811
    return World(venues, tmp_path)


async def live(world: World, hole: tuple[int, int] = (0, 0)) -> Store:
    """A lake with three minutes of both sockets, but for the seconds of `hole`: then they were lost."""
    store = world.empty()
    sim, segments, seq = world.venues, list[Segment](), 0
    pipeline = Pipeline({P: (adapter := Polymarket()), K: Kalshi(use_yes_price=True)}, segments.append)
    wires = {P: Wire.POLYMARKET_SOCKET, K: Wire.KALSHI_SOCKET}
    living = {venue: [each for each in sim.world.all if each.venue is venue] for venue in Venue}
    for each in living[P]:
        adapter.know(market_key(market_id(P, each.native_id)), [*each.tokens])
    async with sim.polymarket() as poly, sim.kalshi() as kalshi:
        tokens = [token for each in living[P] for token in each.tokens]
        await poly.send(json.dumps({"assets_ids": tokens, "type": "market", "custom_feature_enabled": True}))
        channels, tickers = ["orderbook_delta", "ticker", "trade"], [each.native_id for each in living[K]]
        params = {"channels": channels, "market_tickers": tickers, "use_yes_price": True}
        await kalshi.send(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
        first = {P: await until_pong(poly), K: await until_ok(kalshi)}  # then both are subscribed
        for second in range(0, SECONDS, 2):
            sim.run(2)
            if second == 40:  # when all that there will be are listed, and none is over
                await sync_catalog(world.settings, store)
                await poly.send(json.dumps({"assets_ids": tokens, "operation": "subscribe"}))
            told = {P: first.pop(P, []) + await until_pong(poly), K: first.pop(K, []) + await until_ok(kalshi)}
            at = sim.simulation.at
            for venue, frames in told.items():
                name = f"{venue.value}-1"
                if second == hole[0] and hole[1]:
                    pipeline.closed(Closed(name, at, Gap.DISCONNECTED))
                if second == hole[1] and hole[1]:
                    pipeline.opened(Opened(name, at, wires[venue]))
                for frame in frames if not hole[0] <= second < hole[1] else ():
                    pipeline.feed(Frame(seq, name, at, frame, wires[venue]))
                    seq += 1
        if hole[1]:  # the venue's books anew
            async with sim.polymarket() as again:
                await again.send(json.dumps({"assets_ids": tokens, "type": "market"}))
                for frame in await until_pong(again):
                    pipeline.feed(Frame(seq, "polymarket-1", sim.simulation.at, frame, wires[P]))
                    seq += 1
            await kalshi.send(json.dumps({"id": 2, "cmd": "unsubscribe", "params": {"sids": [1]}}))
            await until_ok(kalshi)
            params = {"channels": ["orderbook_delta"], "market_tickers": tickers, "use_yes_price": True}
            await kalshi.send(json.dumps({"id": 3, "cmd": "subscribe", "params": params}))
            for frame in await until_ok(kalshi):
                pipeline.feed(Frame(seq, "kalshi-1", sim.simulation.at, frame, wires[K]))
                seq += 1
    pipeline.finish(sim.simulation.at)
    for segment in segments:
        publish(store, segment, "live")
    world.end()
    return store


async def test_all_that_was_missed_comes_once(world):
    """A lake without a feed gets every trade and the bars of both venues; done again, nothing is asked or written."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    report = await world.fill(store)
    assert report.faults == Counter() and report.unreadable == 0
    assert world.stored(store) == world.trades() and report.rows["trades"] == world.trades().total() > 100
    bars = store.scan(HISTORY).collect()
    assert bars.select("market_key", "bar_start").is_unique().all()
    assert set(bars["bar_start"].dt.epoch("us")) == {SINCE, SINCE + 300 * SECOND_US}
    assert set(bars["venue"]) == {"polymarket", "kalshi"} and set(bars["price_rule"]) == {"venue_history"}
    files = sorted(store.root.rglob("*.parquet"))
    again = await world.fill(store)
    assert (again.requests, again.rows, again.faults) == (0, Counter(), Counter())
    assert sorted(store.root.rglob("*.parquet")) == files
    (store.local / FILE).unlink()
    anew = await world.fill(store)
    assert anew.requests and anew.rows["trades"] == 0 and world.stored(store) == world.trades()
    assert errors(store) == []


async def test_ids_are_those_of_the_sockets(world):
    """A trade has the same id whether a socket or the tape told it, and what a socket told is not stored again."""
    told, filled = await live(world), world.empty()
    for each in told.parts(MARKETS):
        (filled.root / each.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(told.root / each.path, filled.root / each.path)
    await world.fill(filled)
    late = {market_key(market_id(each.venue, each.native_id)) for each in world.venues.world.all if each.listed > START}
    for venue in Venue:
        live_ids, ids = (
            set(store.scan(TRADES, venues=[venue.value]).select("market_key", "trade_id").collect().iter_rows())
            for store in (told, filled)
        )
        assert live_ids <= ids and len(live_ids) > 400
        assert {market for market, _ in ids - live_ids} <= late  # which the sockets were asked for seconds later
    before = world.stored(told)
    report = await world.fill(told)
    assert report.rows["trades"] == (world.trades() - before).total() and report.faults == Counter()
    assert world.stored(told) == world.trades()


def errors(store: Store) -> list:
    """What a survey of the whole lake calls an error."""
    with Apart(1) as processes:
        found = survey(store, processes, now=from_us(NOW), full=True).report.findings
    return [each for each in found if each.severity is Severity.ERROR]


@pytest.mark.parametrize("venue", list(Venue))
async def test_gaps_are_filled_and_said_to_be(world, venue):
    """Trades of a time when the sockets were lost come in, no other one twice; the gaps are back-filled, once."""
    store = await live(world, hole=(60, 120))
    assert 0 < world.stored(store).total() < world.trades().total()
    gaps = distinct_gaps(store.scan(GAPS)).collect()
    lost = gaps.filter(pl.col("reason") == "disconnected")
    assert lost.height >= 8 and not gaps["backfilled"].any()
    report = await world.fill(store, WANTED_OF[venue])
    of_venue = lost.filter(pl.col("venue") == venue.value).height
    assert report.faults == Counter() and report.gaps >= of_venue > 0
    assert world.stored(store) & world.trades(venue) == world.trades(venue)
    assert (world.stored(store) - world.trades()).total() == 0
    told = distinct_gaps(store.scan(GAPS)).collect()
    assert told.height == gaps.height
    is_filled = told.filter(pl.col("reason") == "disconnected").group_by("venue").agg(pl.col("backfilled").all())
    assert dict(is_filled.iter_rows()) == {each.value: each is venue for each in Venue}
    again = await world.fill(store, WANTED_OF[venue])
    assert (again.requests, again.gaps, again.rows) == (0, 0, Counter())
    assert errors(store) == []


WANTED_OF = {venue: Wanted(from_us(SINCE), from_us(UNTIL), venues=[venue]) for venue in Venue}


async def test_filled_trades_reach_the_bars(world):
    """After a back-fill the bars are those of a lake that missed nothing, but for what prices; they say so."""
    store = await live(world, hole=(60, 120))
    refresh_bars(store)
    before = store.scan(BARS).collect()
    assert not before["is_backfilled"].any()
    await world.fill(store)
    refresh_bars(store)
    found = store.scan(BARS).collect()
    for every in ("1m", "5m", "1h", "1d"):
        bars = found.filter(pl.col("interval") == every)
        assert bars["trades"].sum() == world.trades().total() > before.filter(interval=every)["trades"].sum()
        late = bars.filter("is_backfilled")
        assert not late.is_empty() and late["trades"].min() > 0
    minutes = found.filter(interval="1m")
    in_hole = pl.col("bar_start").dt.epoch("us").is_between(START + 60 * SECOND_US, START + 119 * SECOND_US)
    assert minutes.filter(in_hole & (pl.col("trades") > 0))["is_backfilled"].all()
    rows = distinct_gaps(store.scan(GAPS)).collect()
    segment = Segment(7 << 40, NOW, 7 << 40, NOW)
    segment.rows[GAPS, "kalshi"] = gap_rows(rows, [HeldGap(None, 0, None, place) for place in range(3)], 7 << 40)
    publish(store, segment, "other")
    report = refresh_bars(store)
    assert (report.segments, report.markets) == (1, 0)  # that a gap was filled is no news of a price
    anew = found.sort("interval", "market_key", "bar_start")
    refresh_bars(store, anew=True)
    assert_frame_equal(store.scan(BARS).collect().sort("interval", "market_key", "bar_start"), anew)


class Killed(BaseException):
    """The end of a process, as far as a test can have one."""


class Cut(Http):
    """A client that is killed at its nth request, or answers slowly never."""

    left = 0

    async def _ask(self, *args, **given):
        Cut.left -= 1
        if Cut.left < 0:
            raise Killed
        return await super()._ask(*args, **given)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 7])
async def test_goes_on_where_it_was_killed(world, after, monkeypatch):
    """Killed at any request, the next run asks for the rest alone, and all is there once."""
    monkeypatch.setattr("flows.jobs.backfill.MOST_ASKS", 1)
    world.venues.run(40)
    store, other = await world.lake(), await world.lake()
    world.end()

    def opened(address, rate):
        return Cut(address, rate=1_000, rng=None, timing=None)

    wanted = Wanted(from_us(SINCE), from_us(UNTIL), venues=[K])
    Cut.left = 10_000
    whole = await world.fill(other, wanted, open_http=opened)
    Cut.left = after
    with pytest.raises(Killed):
        await world.fill(store, wanted, open_http=opened)
    Cut.left = 10_000
    report = await world.fill(store, wanted, open_http=opened)
    asked = max(0, after - 1)  # the first request is for how far back the tape goes
    assert report.requests == whole.requests - asked
    assert world.stored(store) == world.trades(K)
    assert store.scan(HISTORY).collect().select("market_key", "bar_start").is_unique().all()


async def test_killed_before_the_ledger_knows(world, monkeypatch):
    """Files whose line never came are done again, so that bars get all that is in the lake."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    real = Store._publish

    def publish_then_die(self, part, frame):
        if part.table is SEGMENTS:
            raise Killed
        return real(self, part, frame)

    monkeypatch.setattr(Store, "_publish", publish_then_die)
    with pytest.raises(Killed):
        await world.fill(store, WANTED_OF[K])
    assert store.scan(TRADES).collect().height > 0
    monkeypatch.setattr(Store, "_publish", real)
    await world.fill(store, WANTED_OF[K])
    refresh_bars(store)
    assert world.stored(store) == world.trades(K)
    assert store.scan(BARS).filter(interval="1h").collect()["trades"].sum() == world.trades(K).total()
    assert errors(store) == []


async def test_one_market(world):
    """A market by its id, with or without its venue, is all that is asked for."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    one, two = world.venues.world.all[0].native_id, world.venues.world.all[6].native_id
    report = await world.fill(store, Wanted(from_us(SINCE), from_us(UNTIL), markets=[one, f"kalshi:{two}", two]))
    assert (report.markets, report.faults) == (2, Counter())
    assert {name for name, *_ in world.stored(store)} == {one, two}


async def test_no_more_than_was_asked_for(world):
    """What a venue tells of before and after the span stays out: its bars would be parts of bars."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    since = START + 60 * SECOND_US
    await world.fill(store, Wanted(from_us(since), from_us(UNTIL)))
    assert store.scan(TRADES).select(pl.col("event_time").min()).collect().item() >= from_us(since)
    assert store.scan(HISTORY).collect()["bar_start"].unique().to_list() == [from_us(since)]
    await world.fill(store)
    assert world.stored(store) == world.trades()


async def test_pages_of_any_size_make_the_same_rows(world, monkeypatch):
    """With pages of a few rows the tapes are walked to their ends: the same trades under the same ids."""
    world.venues.run(40)
    stores = [await world.lake() for _ in range(2)]
    world.end()
    await world.fill(stores[0])
    for name, value in (("PAGE", 20), ("DEEPEST", 45), ("KALSHI_PAGE", 25)):
        monkeypatch.setattr(tapes, name, value)

    def opened(address, rate):
        return Http(address, rate=1_000, rng=None, timing=None)

    report = await world.fill(stores[1], open_http=opened)
    rows = [store.scan(TRADES).drop("seq", "received_time").collect().sort("trade_id") for store in stores]
    assert report.faults == Counter()
    assert_frame_equal(*rows)


async def test_a_venue_that_refuses(world):
    """It is left alone after a few refusals and named with the reason; the other venue is filled all the same."""
    world.venues.run(40)
    store = await world.lake()
    world.end()

    def opened(address, rate):
        is_kalshi = "trade-api" in address
        transport = httpx.MockTransport(lambda request: httpx.Response(403)) if is_kalshi else None
        return Http(address, rate=1_000, rng=None, timing=None, transport=transport)

    report = await world.fill(store, open_http=opened)
    assert world.stored(store) == world.trades(P)
    assert any("kalshi: broke off: 3 requests in a row failed" in fault for fault in report.faults)
    assert any("status 403" in fault for fault in report.faults)
    later = await world.fill(store)
    assert later.faults == Counter() and world.stored(store) == world.trades()


async def test_one_at_a_time(world):
    """A second back-fill of the same lake is refused by name."""
    store = await world.lake()
    with sole(store, "backfill"), pytest.raises(LakeError, match="backfill already"):
        await world.fill(store)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"since": NOW + HOUR_US}, "is not in the past"),
        ({"since": SINCE, "until": SINCE}, "is not before --until"),
        ({"since": NOW - 400 * 24 * HOUR_US}, "further back than what can be filled; give 2026-"),
        ({"since": SINCE, "markets": ["KXNONE-1"]}, "--market KXNONE-1: lake .* knows no such market"),
        ({"since": SINCE, "markets": ["kalshi:x\x1b[31m\n"]}, r"knows no such market"),
    ],
)
async def test_what_cannot_be_asked_for(world, changed, says):
    """Bad input is one line that names it, before anything is asked."""
    store = await world.lake()
    times = {name: from_us(value) for name, value in changed.items() if isinstance(value, int)}
    with pytest.raises(SettingError, match=says) as found:
        await world.fill(store, Wanted(**{**changed, **times}))
    assert "\n" not in str(found.value) and "\x1b" not in str(found.value)
    assert not (store.local / FILE).exists()


async def test_replay_has_no_venue(world):
    """In that mode there is nobody to ask; a venue that the mode lacks is named."""
    store = await world.lake()
    for mode, asked, says in ((Mode.REPLAY, list(Venue), "replay"), (Mode.POLYMARKET, [K], "has no kalshi")):
        with pytest.raises(SettingError, match=says):
            await backfill(load(collector_mode=mode), store, Wanted(from_us(SINCE), venues=asked), clock=world.clock)


async def test_what_is_not_over_waits(world):
    """Nothing younger than two minutes is asked for, and a damaged note of what was answered costs requests only."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    young = Wanted(from_us(NOW - 3 * 60 * SECOND_US))
    assert (await world.fill(store, young)).requests == 0
    (store.local / FILE).write_bytes(b'{"kalshi"')
    assert (await world.fill(store)).requests > 0
    assert world.stored(store) == world.trades()


async def test_a_hole_in_kalshis_trades_is_mended_by_the_collector(world, monkeypatch):
    """Its trades come into the intake as frames of history; those that the socket told are known by their ids."""
    monkeypatch.setattr("flows.collector.backfill.CACHED", 0.0)
    store = await live(world, hole=(60, 120))
    clock = world.clock
    intake = Intake(0, clock)
    link = Link(intake, clock, Timing(), Random(1), Limiter(1), print, lambda *_: None)
    address, hole = world.settings.addresses.kalshi_api_url, (START + 60 * SECOND_US, START + 120 * SECOND_US)
    tickers = [each.native_id for each in world.venues.world.all if each.venue is K]
    had = set(store.scan(TRADES).collect()["trade_id"])
    for asked in ((), tickers):
        http = Http(address, rate=1_000, rng=Random(1), timing=Timing())
        pages = await missed_trades(http, link, *hole, asked)
        await http.close()
        frames = [item for item in iter(intake.take, None) if isinstance(item, Frame)]
        assert pages == len(frames) > 0 and {frame.connection for frame in frames} == {"kalshi-history"}
        adapter = Kalshi(use_yes_price=True)
        found = [each for frame in frames for message in adapter.parse(frame) for each in message.actions]
        ids = {each.trade_id for each in found if isinstance(each, Trade)}
        told = world.venues.world.happenings(*hole)
        assert {each.trade_id for each in told if each.kind is Kind.TRADE and each.market.venue is K} <= ids
        assert ids & had


async def test_older_than_the_venue_keeps(world):
    """Kalshi says how far back its trades go: what is older is said to be lost, what is younger comes all the same."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    ticker = world.venues.world.all[7].native_id
    report = await world.fill(store, Wanted(from_us(NOW - 26 * HOUR_US), from_us(UNTIL), markets=[ticker]))
    [fault] = report.faults
    assert fault.startswith("kalshi: serves no trades of before 2026-") and report.rows["history"] > 200
    assert world.stored(store) == Counter({row: count for row, count in world.trades().items() if row[0] == ticker})


async def test_lake_without_markets(world):
    """Where no catalogue was read yet there is nothing to ask for: that is said of each venue."""
    report = await world.fill(world.empty())
    assert len(report.faults) == 2 and all("knows no market" in fault for fault in report.faults)


async def test_old_days_are_merged_as_others_are(world):
    """Files of a back-fill lie in the day of their rows; merged, the lake has the same rows, and is sound."""
    world.venues.run(40)
    store = await world.lake()
    world.end()
    await world.fill(store)
    day = f"date={from_us(START).date()}"
    assert {path.parent.name for path in store.root.glob("trades/**/*.parquet")} == {day}
    before = world.stored(store)
    now = from_us(NOW) + timedelta(days=3)
    for path in store.root.rglob("*.parquet"):
        os.utime(path, (NOW / 1e6, NOW / 1e6))
    report = maintain(store, now, retain.kept(None, 24), trash_age=timedelta(hours=24))
    assert report.faults == [] and len([*store.root.glob("trades/**/*.parquet")]) == 2
    assert world.stored(store) == before and errors(store) == []

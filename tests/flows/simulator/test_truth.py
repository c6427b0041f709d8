"""The truth log against what the project's own pipeline stores of the simulated venues, with faults and without."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.collector.pipeline import Pipeline
from flows.collector.segments import Segment
from flows.simulator import truth_frames
from flows.simulator.base import Kind
from flows.simulator.comparing import Verdict, compare_quotes, compare_results, compare_trades
from flows.simulator.service import Simulation
from flows.simulator.truth import Truth
from flows.simulator.truth_file import TruthFile, export, load
from flows.simulator.watched import Watched
from flows.simulator.world import SimulatedWorld
from flows.venues.base import Closed, Frame, Opened, Wire, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import SECOND_US, from_us
from lake.errors import SettingError
from lake.schema import GAPS, MARKETS, QUOTES, TRADES, Table
from lake.vocab import Venue
from tests.flows.simulator.conftest import Venues, until_ok, until_pong
from tests.flows.simulator.tiny import SHORT, START, tiny_world

POLY, KALSHI = Venue.POLYMARKET, Venue.KALSHI


class Client:
    """A pipeline fed from one connection to each venue, read twice a simulated second."""

    def __init__(self, venues: Venues, polymarket, kalshi) -> None:
        self.venues = venues
        self.sockets = {POLY: polymarket, KALSHI: kalshi}
        self.sealed: list[Segment] = []
        adapters = {POLY: Polymarket(), KALSHI: Kalshi(use_yes_price=True)}
        self.pipeline = Pipeline(adapters, self.sealed.append)
        self._number = 0
        for venue in Venue:
            self.opened(venue)

    def opened(self, venue: Venue) -> None:
        self.pipeline.opened(Opened(venue.value, self.venues.simulation.at, _WIRES[venue]))

    async def subscribe(self) -> "Client":
        world, at = self.venues.world, self.venues.simulation.at
        tokens = [token for market in world.markets(POLY, at) for token in market.tokens]
        tickers = [market.native_id for market in world.markets(KALSHI, at)]
        channels = ["orderbook_delta", "trade"]
        params = {"channels": channels, "market_tickers": tickers, "use_yes_price": True}
        wanted = {"type": "market", "assets_ids": tokens, "custom_feature_enabled": True}
        await self.sockets[POLY].send(json.dumps(wanted))
        await self.sockets[KALSHI].send(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
        await self.take()
        return self

    async def run(self, seconds: float) -> "Client":
        for _ in range(round(seconds * 2)):
            self.venues.run(0.5)
            await self.take()
        return self

    async def take(self) -> None:
        polymarket, kalshi = await until_pong(self.sockets[POLY]), await until_ok(self.sockets[KALSHI])
        for venue, frames in ((POLY, polymarket), (KALSHI, kalshi)):
            for payload in frames:
                seq = frame_seq(7, self._number)
                self._number += 1
                now = self.venues.simulation.at
                self.pipeline.feed(Frame(seq, venue.value, now, payload, _WIRES[venue]))

    def rows(self, table: Table) -> pl.DataFrame:
        """As a lake would hold them, with the venue."""
        open_segment = self.pipeline._segment
        frames = [
            table.frame(rows).with_columns(venue=pl.lit(venue))
            for segment in [*self.sealed, *([open_segment] if open_segment else [])]
            for (of, venue), rows in segment.rows.items()
            if of is table
        ]
        return pl.concat([table.frame([]).with_columns(venue=pl.lit("")), *frames])

    def compared(self, start: int = START) -> tuple[Verdict, Verdict]:
        truth, end = self.venues.simulation.truth, self.venues.simulation.at
        gaps = self.rows(GAPS)
        return (
            compare_quotes(self.rows(QUOTES), truth_frames.quotes(truth, start, end), gaps),
            compare_trades(self.rows(TRADES), truth_frames.trades(truth, start, end), gaps),
        )


_WIRES = {POLY: Wire.POLYMARKET_SOCKET, KALSHI: Wire.KALSHI_SOCKET}


@asynccontextmanager
async def client(venues: Venues) -> AsyncIterator[Client]:
    async with venues.polymarket(max_size=None) as one, venues.kalshi(max_size=None) as two:
        yield await Client(venues, one, two).subscribe()


@pytest.mark.asyncio
async def test_a_right_client_has_everything(venues):
    """Over the tiny world's minutes, results included: each change and trade matched, none missing, none extra."""
    async with client(venues) as own:
        await own.run(150)
        quotes, trades = own.compared()
    assert quotes.is_right and trades.is_right, f"{quotes}; {trades}"
    assert quotes.matched > 800 and trades.matched > 150 and quotes.covered.is_empty()


@pytest.mark.asyncio
async def test_the_model_world_too(key):
    """Over the real model's markets."""
    world = SimulatedWorld(7, 60, 60.0)
    simulation = Simulation(world, START, key)
    async with simulation.serving() as ports:
        venues = Venues(world, simulation, key, ports, None)
        async with client(venues) as own:
            await own.run(40)
            quotes, trades = own.compared()
    assert quotes.is_right and trades.is_right, f"{quotes}; {trades}\n{quotes.missing}\n{quotes.extra}"
    assert quotes.matched > 300 and trades.matched > 10


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["malformed", "unknown-field", "unknown-kind", "bad-utf8", "duplicate"])
async def test_faults_that_take_nothing(venues, kind):
    """Bad frames beside right ones, strange fields and repeats: nothing is missing and nothing is extra."""
    async with client(venues) as own:
        for venue in Venue:
            venues.simulation.fault(venue, kind)
        await own.run(60)
        quotes, trades = own.compared()
    assert quotes.is_right and trades.missing.is_empty(), f"{quotes}; {trades}"
    assert quotes.matched > 300
    if kind == "duplicate":  # the print of a transaction told twice on Polymarket cannot be told from a second fill
        assert trades.extra["trade_id"].str.contains("-[0-9]{6}-2$").all()
    else:
        assert trades.extra.is_empty()


@pytest.mark.asyncio
async def test_a_clock_that_is_off_is_known(venues):
    """The truth tells times as the venue tells them."""
    async with client(venues) as own:
        await own.run(10)
        for venue in Venue:
            venues.simulation.fault(venue, "clock", value=3.25)
        await own.run(20)
        quotes, trades = own.compared()
    assert quotes.is_right and trades.is_right, f"{quotes}; {trades}"


@pytest.mark.asyncio
async def test_what_is_withheld_is_missing_or_covered(venues):
    """Ten silent seconds are missing, each change by itself; a gap row over them makes them covered instead."""
    async with client(venues) as own:
        await own.run(20)
        faults = [venues.simulation.fault(venue, "silence", seconds=10) for venue in Venue]
        await own.run(20)
        trades = own.compared()[1]
        assert trades.missing.height > 5 and trades.extra.is_empty()
        spans = [(from_us(fault.first), from_us(fault.last)) for fault in faults]
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        times = trades.missing["event_time"]
        assert first - timedelta(milliseconds=1) <= times.min() and times.max() <= last
        gap = dict.fromkeys(GAPS.columns) | {"start_time": faults[0].start, "end_time": faults[0].end}
        told = GAPS.frame([tuple(gap[name] for name in GAPS.columns)])
        again = compare_trades(
            own.rows(TRADES), truth_frames.trades(venues.simulation.truth, START, venues.simulation.at), told
        )
        assert again.missing.is_empty() and again.covered.height == trades.missing.height
        assert again.matched == trades.matched
    windows = truth_frames.faults(venues.simulation.truth)
    assert windows.select("venue", "kind", "hits").rows() == [(f.venue.value, "silence", f.hits) for f in faults]
    assert windows["end"].to_list() == [from_us(START + 30 * SECOND_US)] * 2


@pytest.mark.asyncio
async def test_what_was_lost_is_asked_for_all_the_same(venues):
    """Markets whose subscription was lost are in the truth; markets that nobody asked for are not."""
    venues.simulation.fault(POLY, "lost-subscribe")
    wanted = venues.world.all[0]
    async with venues.polymarket() as socket:
        await socket.send(json.dumps({"type": "market", "assets_ids": wanted.tokens}))
        assert await until_pong(socket) == []
        venues.run(20)
    found = truth_frames.quotes(venues.simulation.truth, START, venues.simulation.at).filter("is_change")
    assert found["market_key"].n_unique() == 1 and found.height > 5
    assert truth_frames.trades(venues.simulation.truth, START, venues.simulation.at)["market_key"].n_unique() == 1


def test_what_is_stored_wrongly_is_found():
    """A price, a size, a side, a time and a double: each is extra, and what it stands for is missing."""
    truth = Truth(tiny_world(), START)
    truth.watched[KALSHI].asked(1, "orderbook_delta", [""])
    truth.watched[KALSHI].asked(1, "trade", [""])
    end = START + 60 * SECOND_US
    quotes, trades = truth_frames.quotes(truth, START, end), truth_frames.trades(truth, START, end)
    stored = quotes.filter("is_change").with_columns(received_time=pl.col("event_time") + timedelta(milliseconds=7))
    stored = stored.drop("is_change").with_row_index("seq").cast({"seq": pl.Int64})
    none = GAPS.frame([])
    assert compare_quotes(stored, quotes, none).is_right and stored.height > 100
    place = next(place for place, row in enumerate(stored.iter_rows()) if place > 50 and None not in row)
    for change in (
        {"bid": pl.col("bid") + 0.01},
        {"ask_size": pl.col("ask_size") - 0.25},
        {"bid": pl.lit(None, pl.Float64)},
        {"event_time": pl.col("event_time") + timedelta(milliseconds=1)},
    ):
        spoilt = pl.concat([stored[:place], stored[place : place + 1].with_columns(**change), stored[place + 1 :]])
        found = compare_quotes(spoilt, quotes, none)
        late = "event_time" in change
        assert (found.missing.height, found.extra.height, found.matched) == (1, int(not late), stored.height - 1), (
            change
        )
    later = stored[place : place + 1].with_columns(event_time=pl.col("event_time") + timedelta(seconds=20))
    stale = compare_quotes(pl.concat([stored, later]), quotes, none)
    assert (stale.missing.height, stale.extra.height) == (0, 1)  # it stood so once, and no longer
    stored = trades.with_columns(received_time="event_time")
    assert compare_trades(stored, trades, none).is_right and trades.height > 20
    for change in (
        {"price": pl.col("price") + 0.01},
        {"size": pl.col("size") * 2},
        {"taker_side": pl.lit(None, pl.String)},
        {"event_time": pl.col("event_time") + timedelta(seconds=2)},
        {"trade_id": pl.lit("another")},
    ):
        spoilt = pl.concat([stored[:5], stored[5:6].with_columns(**change), stored[6:]])
        found = compare_trades(spoilt, trades, none)
        assert (found.missing.height, found.extra.height, found.matched) == (1, 1, trades.height - 1), change
    double = compare_trades(pl.concat([stored, stored[3:4]]), trades, none)
    assert (double.missing.height, double.extra.height) == (0, 1)


def test_lives_and_results():
    """Listings, closes and results in order; a stored result that is another, or none, is missing."""
    truth = Truth(tiny_world(), START)
    lives = truth_frames.lives(truth, START, START + 170 * SECOND_US)
    assert lives.filter(pl.col("venue") == "kalshi")["kind"].to_list() == ["listed", "closed", "determined", "gone"]
    short = tiny_world().all[SHORT]
    row = dict.fromkeys(MARKETS.columns) | {
        "market_key": lives.filter(market_id=f"polymarket:{short.native_id}")["market_key"][0],
        "status": "resolved", "result": short.outcomes[short.winner], "as_of": START, "seq": 1,
    }  # fmt: skip

    def markets(**said) -> pl.DataFrame:
        return MARKETS.frame([tuple((row | said)[name] for name in MARKETS.columns)])

    verdicts = [compare_results(markets(**said), lives) for said in ({}, {"result": "No way"}, {"status": "closed"})]
    assert [(v.matched, v.missing.height, v.extra.height) for v in verdicts] == [(1, 1, 0), (0, 2, 1), (0, 2, 0)]


def test_who_wanted_what_and_when():
    """A break of a connection ends nothing if another asks again; leaving does; "" is every market."""
    watched = Watched(10)
    watched.asked(1, "c", ["a", "b"])
    watched.at = 20
    watched.asked(2, "c", ["a"])  # an overlap
    watched.at = 30
    watched.closed(1)
    watched.at = 40
    watched.left(2, "c", ["a"])
    watched.at = 50
    watched.asked(3, "c", ["a", "b"])
    assert watched.spans("c", "a") == [(10, 40), (50, None)] and watched.spans("c", "b") == [(10, None)]
    assert [watched.wants("c", "a", at) for at in (10, 11, 40, 41, 50, 51)] == [False, True, True, False, False, True]
    assert watched.spans("other", "a") == [] and not watched.wants("c", "x", 60)
    watched.asked(3, "c", [""])
    assert watched.wants("c", "x", 60)


@pytest.mark.asyncio
async def test_the_truth_is_on_disk(key, tmp_path):
    """What was noted, read again after a restart, tells the same; its export is JSON lines of the same rows."""
    world, file = SimulatedWorld(7, 40, 40.0), TruthFile(tmp_path, 7)
    simulation = Simulation(world, START, key, seed=7, note=file.note)
    file.begin(START, 40, 40.0)
    async with simulation.serving() as ports:
        venues = Venues(world, simulation, key, ports, None)
        async with client(venues) as own:
            simulation.fault(POLY, "silence", seconds=3)
            await own.run(5)
            simulation.fault(KALSHI, "clock")
            await own.run(5)
            file.flush(print)
            read = load(tmp_path / "truth-7.jsonl")
            end = simulation.at
            for of in (truth_frames.quotes, truth_frames.trades, truth_frames.lives):
                assert of(read, START, end).equals(of(simulation.truth, START, end))
    again = TruthFile(tmp_path, 7)
    again.begin(START + 60 * SECOND_US, 40, 40.0)
    read = load(tmp_path / "truth-7.jsonl")
    windows = truth_frames.faults(read).select("kind", "start", "end").rows()
    assert [(kind, end) for kind, _, end in windows] == [
        ("silence", from_us(START + 3 * SECOND_US)),
        ("clock", from_us(START + 60 * SECOND_US)),
    ]
    paths = export(read, tmp_path / "out", START, end)
    assert [path.name for path in paths] == ["quotes.jsonl", "trades.jsonl", "lives.jsonl", "faults.jsonl"]
    assert pl.read_ndjson(paths[0]).height == truth_frames.quotes(read, START, end).height


def test_another_world_in_the_same_file(tmp_path):
    """Only the last runs of one world count; what is no log is refused in one line."""
    for markets, start in ((40, START), (50, START + 1), (50, START + 2)):
        TruthFile(tmp_path, 7).begin(start, markets, 40.0)
    assert load(tmp_path / "truth-7.jsonl").start == START + 1
    with pytest.raises(SettingError, match="is no truth log"):
        load(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SettingError, match="holds no run"):
        load(tmp_path / "empty.jsonl")
    (tmp_path / "other").mkdir()
    file, said = TruthFile(tmp_path / "other", 7), []
    file.begin(START, 40, 40.0)
    file.path.unlink()
    file.path.mkdir()
    for _ in range(2):
        file.note({"line": "closed"})
        file.flush(said.append)
    assert len(said) == 1 and "go on without a truth log" in said[0] and Path(file.path).is_dir()


def test_kinds_of_life_are_those_of_the_world():
    assert set(truth_frames._STATUS) == {kind.value for kind in Kind} - {"book", "trade"} and Closed

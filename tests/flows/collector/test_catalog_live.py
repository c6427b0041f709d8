"""A whole collector and its catalogue: what it follows at its start, and what the simulated venues' markets become."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from flows.collector.places import PlaceFile
from flows.collector.service import collect
from flows.collector.timing import Clock
from flows.simulator import keys
from flows.simulator.service import Simulation
from lake.clock import SECOND_US
from lake.schema import MARKETS, QUOTES
from lake.settings import load
from lake.store import Store
from lake.vocab import Mode, Venue
from tests.flows.collector.test_live import TIMING, Run, collecting, venues_with_key
from tests.flows.collector.venues import running, until
from tests.flows.simulator.tiny import LATE, SHORT, START, market, tiny_world

POLLED = replace(TIMING, catalog_every=0.1, walk_every_untrusted=30, sweep_every=0.2, choose_every=0.2)


@asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[tuple[Run, Simulation]]:
    """The simulated venues without their sockets, at a clock that is moved by hand, and a collector of them."""
    simulation = Simulation(tiny_world(), START, keys.make(folder / "simulator"))
    async with simulation.serving() as (poly, kal):
        here: dict[str, Any] = {
            "polymarket_gamma_url": f"http://127.0.0.1:{poly}/gamma",
            "polymarket_clob_url": f"http://127.0.0.1:{poly}/clob",
            "kalshi_api_url": f"http://127.0.0.1:{kal}/trade-api/v2",
            "polymarket_use_wss": False, "backfill_hours": 0, "collector_universe": "all",
        }  # fmt: skip
        settings = load(collector_mode=Mode.LIVE, lake_uri=str(folder / "lake"), **here)
        run = Run(Store.create(settings.lake_root, settings.collector_mode))
        clock = Clock(wall=lambda: simulation.at)
        task = asyncio.create_task(
            collect(settings, run.store, run.stop, say=run.lines.append, rng=Random(1), clock=clock, timing=POLLED)
        )
        try:
            yield run, simulation
        finally:
            run.stop.set()
            run.report = await task


def newest(run: Run, venue: Venue, number: int) -> dict[str, Any]:
    """The newest version of a tiny market."""
    rows = run.rows(MARKETS).filter(pl.col("market_id") == f"{venue.value}:{market(venue, number).native_id}")
    return {} if rows.is_empty() else rows.sort("as_of", "seq").row(-1, named=True)


@pytest.mark.asyncio
async def test_life_of_simulated_markets(tmp_path):
    """With no word from a socket, a market that is listed is followed and one that ends has its result in the lake."""
    async with simulated(tmp_path) as (run, simulation):
        await until(lambda: run.has(QUOTES, 8), 15)
        assert not newest(run, Venue.POLYMARKET, LATE) and not newest(run, Venue.KALSHI, LATE)
        for _ in range(360):
            simulation.advance(simulation.at + SECOND_US // 2)
            await asyncio.sleep(0.002)
        for venue in Venue:
            await until(lambda venue=venue: newest(run, venue, LATE).get("status") == "active", 15)
            await until(lambda venue=venue: newest(run, venue, SHORT).get("result") is not None, 15)
            named = market(venue, SHORT)
            over = newest(run, venue, SHORT)
            assert over["status"] in ("resolved", "proposed") and over["result"] in named.outcomes
            winner = next(each for each in tiny_world().all if each.native_id == named.native_id).winner
            assert over["result"] == named.outcomes[winner]
        late = {newest(run, venue, LATE)["market_key"] for venue in Venue}
        await until(lambda: late <= set(run.rows(QUOTES)["market_key"]), 15)
    assert run.report is not None and run.report.counts.dead == {} and run.report.counts.failed == 0


@pytest.mark.asyncio
async def test_second_life_follows_what_the_lake_knows(tmp_path):
    """Started again while the catalogues are down, the former universe is followed at once, the right way round."""
    venues = venues_with_key(tmp_path)
    async with running(venues):
        async with collecting(venues, tmp_path, backfill_hours=0) as run:
            await until(lambda: run.has(QUOTES, 6) and run.has(MARKETS, 6), 15)
            files = [PlaceFile(run.store.local, "main", venue) for venue in Venue]
            await until(lambda: all(file.load().whole for file in files), 15)
        count = run.rows(QUOTES).height
        for path in ("/gamma/events/keyset", "/gamma/markets", "/trade-api/v2/events", "/trade-api/v2/series"):
            venues.answers[path] = lambda _: web.Response(status=503)
        venues.is_backwards = True
        async with collecting(venues, tmp_path, backfill_hours=0) as run:
            await until(lambda: run.has(QUOTES, count + 6), 15)
    assert sum("known from before" in line for line in run.lines) == 2
    assert run.rows(QUOTES).select("bid", "ask").unique().rows() == [(0.40, 0.42)]


@pytest.mark.asyncio
async def test_categories(tmp_path):
    """A category that no market has leaves that venue without a subscription, and says what there is."""
    venues = venues_with_key(tmp_path)
    given = {"backfill_hours": 0, "collector_categories": "politics"}
    async with running(venues), collecting(venues, tmp_path, **given) as run:
        await until(lambda: run.has(QUOTES, 3) and run.said("COLLECTOR_CATEGORIES: no open market of kalshi"), 15)
        assert run.said("polymarket: 3 of 3 open markets followed") and run.said("kalshi: 0 of 3 open markets")
    assert set(run.rows(QUOTES)["venue"]) == {"polymarket"}

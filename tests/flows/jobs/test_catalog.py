"""A pass over both catalogues writes what changed, and nothing twice."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import httpx
import polars as pl
import pytest

from flows.collector.http import Http
from flows.collector.timing import Timing
from flows.jobs.catalog import CatalogReport, sync_catalog
from lake.schema import FEED_HEALTH, MARKETS, QUOTES, SEGMENTS
from lake.settings import load
from lake.store import Store
from lake.vocab import Mode, Venue

FRAMES = Path(__file__).parents[2] / "frames"


def frame(name: str) -> dict:
    return json.loads((FRAMES / name).read_text())


class Catalogues:
    """Both venues' catalogues, a page each, from the frames of the parsers' tests."""

    def __init__(self) -> None:
        self.gamma = frame("polymarket/gamma_keyset_events.json") | {"next_cursor": None}
        self.series = frame("kalshi/rest_series_list.json")
        self.events = frame("kalshi/rest_events_nested.json") | {"cursor": ""}
        self.down: set[Venue] = set()

    def open(self, venue: Venue, address: str) -> Http:
        def answer(request: httpx.Request) -> httpx.Response:
            if venue in self.down:
                return httpx.Response(403)
            if "/markets" in request.url.path:  # nothing changed
                return httpx.Response(200, json={"markets": [], "cursor": ""})
            if venue is Venue.POLYMARKET:
                return httpx.Response(200, json=self.gamma)
            return httpx.Response(200, json=self.series if request.url.path.endswith("/series") else self.events)

        transport = httpx.MockTransport(answer)
        return Http(address, rate=1_000, rng=Random(1), timing=Timing(first_delay=0), transport=transport)


async def sync(store: Store, catalogues: Catalogues) -> CatalogReport:
    return await sync_catalog(load(), store, timing=Timing(walk_every=0), open_http=catalogues.open)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(tmp_path / "lake", Mode.SIMULATED)


@pytest.mark.asyncio
async def test_second_pass_writes_nothing(store):
    """The same pages again leave no row and no file, and both venues are there."""
    first = await sync(store, Catalogues())
    files = sorted(store.root.rglob("*.parquet"))
    assert (first.faults, first.unreadable) == ({}, 0)
    assert first.rows["markets"] and first.rows["events"] and first.rows["venue_stats"]
    second = await sync(store, Catalogues())
    assert second.rows == Counter()
    assert sorted(store.root.rglob("*.parquet")) == files
    assert set(store.scan(MARKETS).collect()["venue"]) == {"polymarket", "kalshi"}


@pytest.mark.asyncio
async def test_change_is_one_version(store):
    """A market that changed has a new version, under an epoch of its own, and no other market has."""
    catalogues = Catalogues()
    await sync(store, catalogues)
    catalogues.events["events"][0]["markets"][0]["title"] = "Another question?"
    catalogues.events["events"][0]["markets"][0]["yes_sub_title"] = "Another question?"
    report = await sync(store, catalogues)
    assert (report.epoch, report.rows) == (1, Counter(markets=1))
    assert sorted(store.scan(SEGMENTS).collect()["epoch"].unique()) == [0, 1]


@pytest.mark.asyncio
async def test_one_venue_down(store):
    """A venue that refuses is named in the report; the other one's rows are there."""
    catalogues = Catalogues()
    catalogues.down = {Venue.KALSHI}
    report = await sync(store, catalogues)
    assert list(report.faults) == [Venue.KALSHI]
    assert "kalshi broke off" in str(report) and "403" in str(report)
    assert set(store.scan(MARKETS).collect()["venue"]) == {"polymarket"}


@pytest.mark.asyncio
async def test_pass_is_no_feed(store):
    """Catalogue pages make no quotes, and no minute of health that would be missed afterwards."""
    await sync(store, Catalogues())
    assert [store.scan(table).select(pl.len()).collect().item() for table in (QUOTES, FEED_HEALTH)] == [0, 0]

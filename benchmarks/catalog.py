"""A catalogue of 300,000 markets, read whole and then by what changed: time, requests, memory.

Both venues' pages are made in another process and served over HTTP on loopback, each market with texts as long as the
venues' own. The reader is the collector's: its requests, its pipeline, its lake. It is measured without the limit of
requests a second, and the time that this limit alone would take is told beside.

    python -m benchmarks.catalog [MARKETS]
"""

import asyncio
import multiprocessing as mp
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from flows.collector.catalog import GAMMA_PAGE, KALSHI_PAGE, rate_of
from flows.collector.http import Http
from flows.collector.timing import Clock, Timing
from flows.collector.universe import Rule, survey
from flows.jobs.catalog import CatalogReport, _Reading, sync_catalog
from lake.settings import load
from lake.store import Store
from lake.vocab import Mode, Venue

MARKETS = 300_000
EACH = 4  # markets of an event
POLYMARKET = 2 / 3  # of all markets, as at the venues
CHANGED = 0.002  # of all markets, between two readings
RULES = "This market resolves to Yes if the event happens before the date, by the official source. " * 9
SINCE = 1_780_000_000


def main(markets: int = MARKETS) -> None:
    spawn = mp.get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=serve, args=(there, markets), daemon=True)
    server.start()
    port = here.recv()
    steps: list[tuple[str, str, float]] = [
        ("whole", "count", 3_600), ("what changed, nothing did", "count", 3_600), ("what changed", "change", 3_600),
        ("whole again", "count", 0), ("taken up", "count", 0),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        print(f"{markets:,} markets")
        for name, told, every in steps:
            here.send(told)
            here.recv()
            step = spawn.Process(target=measure, args=(folder, port, name, every))
            step.start()
            step.join()
            here.send("count")
            requests, sent = here.recv()
            pace = max((count / rate_of(Venue(venue)) for venue, count in requests.items()), default=0.0)
            if requests:
                count = sum(requests.values())
                print(f"    {count:,} requests {requests}, {sent / 1e6:,.0f} MB; at our rates {pace:.0f} s")
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        print(f"lake: {size / 1e6:,.1f} MB, {size / markets:,.0f} bytes a market")
    server.terminate()


def measure(folder: str, port: int, name: str, every: float) -> None:
    """One reading in a process of its own."""
    store, before = Store.create(Path(folder) / "lake", Mode.SIMULATED), rss()
    if name == "taken up":
        asyncio.run(choose(store))
        return
    began, cpu = time.perf_counter(), time.process_time()
    timing = replace(Timing(), walk_every=every)
    report = asyncio.run(sync_catalog(load(), store, timing=timing, open_http=lambda venue, _: client(venue, port)))
    took, busy = time.perf_counter() - began, time.process_time() - cpu
    print(f"{name}: {took:.1f} s, {busy:.1f} s of CPU, memory {before:,.0f} to {peak():,.0f} MiB; {report}")


async def choose(store: Store) -> None:
    reading = _Reading(store, Clock(), CatalogReport(0), list(Venue))
    began = time.perf_counter()
    reading.remember()
    print(f"taken up from the lake: {time.perf_counter() - began:.1f} s; {rss():,.0f} MiB now, peak {peak():,.0f} MiB")
    for venue in Venue:
        began, longest = time.perf_counter(), 0.0
        pipeline, rule = reading.pipeline, Rule(2_000, frozenset())
        work = asyncio.create_task(survey(pipeline.markets, pipeline.stats, venue, rule, SINCE * 1_000_000))
        while not work.done():
            turn = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - turn)
        found = work.result()
        took = time.perf_counter() - began
        print(f"choosing of {found.open:,} {venue}: {took:.2f} s, others wait {longest * 1e3:.0f} ms at most")


def client(venue: Venue, port: int) -> Http:
    return Http(f"http://127.0.0.1:{port}/{venue}", rate=1e6, rng=Random(1), timing=Timing())


def rss() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- the venues ----------------------------------------------------------------------------------


@dataclass
class Venues:
    """Pages made when they are asked for."""

    markets: int
    changed: int = 0  # how often
    sent: int = 0

    def __post_init__(self) -> None:
        self.requests: dict[str, int] = {}
        self.poly = int(self.markets * POLYMARKET)
        self.kalshi = self.markets - self.poly

    def handle(self, request: web.Request) -> web.Response:
        venue = request.path.split("/")[1]
        self.requests[venue] = self.requests.get(venue, 0) + 1
        answer = msgspec.json.encode(self.answer(request.path, request.query))
        self.sent += len(answer)
        return web.Response(body=answer, content_type="application/json")

    def answer(self, path: str, query: Any) -> Any:
        at = int(query.get("after_cursor") or query.get("cursor") or 0)
        match path:
            case "/polymarket/events/keyset":
                if "id" in query:
                    return {"events": [self.gamma_event(int(one) - 1) for one in query.getall("id")]}
                return self.page("events", at, self.poly // EACH, GAMMA_PAGE, self.gamma_event, "next_cursor")
            case "/polymarket/markets/keyset":
                if query.get("order") == "id":
                    return {"markets": [self.gamma(self.poly + self.new - 1 - n) for n in range(GAMMA_PAGE)]}
                return {"markets": []}
            case "/kalshi/series":
                return {"series": [{"ticker": f"KX{n}", "category": "Politics", "tags": ["Us"]} for n in range(5_000)]}
            case "/kalshi/events":
                return self.page("events", at, self.kalshi // EACH, KALSHI_PAGE, self.kalshi_event, "cursor")
            case "/kalshi/markets":
                count = int(self.kalshi * CHANGED) if self.changed else 0
                return {"markets": [self.one_kalshi(n * 7) for n in range(count)], "cursor": ""}
        return {}

    @property
    def new(self) -> int:
        return 40 * self.changed

    def page(self, name: str, at: int, count: int, size: int, form: Any, cursor: str) -> dict[str, Any]:
        found = [form(number) for number in range(at, min(at + size, count))]
        return {name: found, cursor: str(at + size) if at + size < count else ""}

    def gamma_event(self, number: int) -> dict[str, Any]:
        markets = [self.gamma(number * EACH + place) for place in range(EACH)]
        tags = [{"id": "2", "label": "Politics"}, {"id": "9", "label": "Elections"}, {"id": "7", "label": "World"}]
        volume = sum(each["volume24hr"] for each in markets)
        head = {"id": str(number + 1), "slug": f"will-it-happen-{number}", "title": f"Will it happen, part {number}?"}
        return head | {"endDate": "2026-12-31T00:00:00Z", "volume24hr": volume, "tags": tags, "markets": markets}

    def gamma(self, number: int) -> dict[str, Any]:
        digest = blake2b(str(number).encode(), digest_size=32)
        token = int.from_bytes(digest.digest())
        return {
            "id": str(number + 1), "conditionId": f"0x{digest.hexdigest()}", "description": RULES,
            "question": f"Will candidate number {number} win the election in district {number % 435}?",
            "slug": f"will-candidate-number-{number}-win-the-election-in-district-{number % 435}",
            "outcomes": '["Yes", "No"]', "outcomePrices": '["0.41", "0.59"]', "acceptingOrders": True,
            "clobTokenIds": f'["{token}", "{token ^ 1}"]', "bestBid": 0.4, "bestAsk": 0.42,
            "active": True, "closed": False, "archived": False,
            "startDate": "2026-01-01T00:00:00Z", "endDate": "2026-12-31T00:00:00Z", "orderPriceMinTickSize": 0.01,
            "volume24hr": float(number % 1_000), "volumeNum": number * 3.5, "liquidityNum": number * 1.25,
            "events": [{"id": str(number // EACH + 1)}],
        }  # fmt: skip

    def kalshi_event(self, number: int) -> dict[str, Any]:
        markets = [self.one_kalshi(number * EACH + place) for place in range(EACH)]
        head = {"event_ticker": f"KX{number % 5_000}-{number}", "series_ticker": f"KX{number % 5_000}"}
        return head | {"title": f"What happens in {number}?", "mutually_exclusive": True, "markets": markets}

    def one_kalshi(self, number: int) -> dict[str, Any]:
        event = number // EACH
        return {
            "ticker": f"KX{event % 5_000}-{event}-T{number}", "event_ticker": f"KX{event % 5_000}-{event}",
            "title": f"Will the temperature in city {event} be above {number % 100}?", "yes_sub_title": "Above",
            "status": "determined" if self.changed and number % 7 == 0 else "active", "result": "",
            "yes_bid_dollars": "0.4000", "yes_ask_dollars": "0.4200", "rules_primary": RULES,
            "volume_fp": f"{number}.00",
            "volume_24h_fp": f"{number % 1_000}.00", "open_interest_fp": f"{number % 777}.00",
            "open_time": "2026-01-01T00:00:00Z", "close_time": "2026-12-31T00:00:00Z",
            "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
        }  # fmt: skip


def serve(told: Connection, markets: int) -> None:
    venues = Venues(markets)

    async def run() -> None:
        app = web.Application()

        async def handle(request: web.Request) -> web.Response:
            return venues.handle(request)

        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        told.send(runner.addresses[0][1])
        while True:
            what = await asyncio.to_thread(told.recv)
            if what == "change":
                venues.changed += 1
            told.send((venues.requests, venues.sent))
            venues.requests, venues.sent = {}, 0

    asyncio.run(run())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

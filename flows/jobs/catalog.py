"""The venues' catalogues, read and written where they changed: markets, events, reported figures.

A collector of its own, named `catalog`, with an epoch a pass: its pages go through the collector's pipeline, whose
memory starts with the newest versions in the lake. So two passes over the same pages write the second time nothing.
A pass reads everything when that is due, else what changed; a venue that a running collector reads is left to it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from flows.collector.catalog import Catalog, Page, rate_of
from flows.collector.former import next_epoch, remember, remember_stats
from flows.collector.http import Http
from flows.collector.journal import Cut
from flows.collector.keeper import Keeper
from flows.collector.making import catalog_name, describing, sweep_name
from flows.collector.pipeline import Pipeline
from flows.collector.places import PlaceFile, last_passes
from flows.collector.sealing import publish
from flows.collector.segments import Segment
from flows.collector.timing import Clock, Timing
from flows.venues.base import Frame, Outcome, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import MINUTE_US
from lake.schema import EVENTS, MARKETS, VENUE_STATS
from lake.settings import Settings
from lake.store import Store
from lake.vocab import Mode, Venue

COLLECTOR: Final = "catalog"

AT_ONCE: Final = 10_000  # markets, whose rows are in memory together

KEPT_US: Final = 20 * MINUTE_US
"""A catalogue that another collector read so long ago is kept up by it."""

OpenHttp = Callable[[Venue, str], Http]

Progress = Callable[[Venue, int, int], None]
"""Hears of the markets that were read of a venue, and of how many there are, 0 = unknown."""


@dataclass(slots=True)
class CatalogReport:
    """What a pass brought."""

    epoch: int
    pages: Counter[Venue] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)  # by table, those that were new
    unreadable: int = 0  # markets, events and pages
    faults: dict[Venue, str] = field(default_factory=dict)  # venues that were not read to the end, and why
    kept: dict[Venue, str] = field(default_factory=dict)  # venues that a running collector reads, and its name

    def __str__(self) -> str:
        changed = ", ".join(f"{count:,} {name}" for name, count in sorted(self.rows.items())) or "nothing new"
        unreadable = f", {self.unreadable:,} unreadable" if self.unreadable else ""
        faults = "".join(f"; {venue.value} broke off: {fault}" for venue, fault in self.faults.items())
        kept = "".join(f"; {venue.value} is kept up by collector {name}" for venue, name in self.kept.items())
        return f"{self.pages.total()} pages: {changed}{unreadable}{faults}{kept}"


async def sync_catalog(
    settings: Settings,
    store: Store,
    *,
    clock: Clock | None = None,
    timing: Timing | None = None,
    open_http: OpenHttp | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> CatalogReport:
    """Read what is due of both catalogues and publish it. A venue that fails does not stop the other: see `faults`.

    Raises `LakeError` if the lake cannot be written.
    """
    clock, timing = clock or Clock(), timing or Timing.of(settings)
    report = CatalogReport(await asyncio.to_thread(next_epoch, store, COLLECTOR))
    venues = [Venue.POLYMARKET] if settings.collector_mode is Mode.POLYMARKET else list(Venue)
    for venue, (name, passed) in last_passes(store.local, COLLECTOR).items():
        if venue in venues and 0 <= clock.wall() - passed < KEPT_US:
            venues.remove(venue)
            report.kept[venue] = name
    if not venues:
        return report
    make = open_http or _opener(clock, timing)
    reading = _Reading(store, clock, report, venues)
    await asyncio.to_thread(reading.remember)
    keepers = {}
    for venue in venues:
        http = make(venue, _address(settings, venue))
        keepers[venue] = (
            http,
            Keeper(
                Catalog(http, venue, clock, reading.pipeline.events.__contains__),
                PlaceFile(store.local, COLLECTOR, venue),
                partial(reading.put, venue),
                clock=clock,
                timing=timing,
                rng=Random(),
                say=say,
                settle=reading.settle,
                progress=None if progress is None else partial(progress, venue),
            ),
        )
    await asyncio.gather(*(reading.read(venue, *keeper) for venue, keeper in keepers.items()))
    await reading.end()
    return report


class _Reading:
    """Pages of all venues into one pipeline, numbered as they come; its segments are published as they close."""

    def __init__(self, store: Store, clock: Clock, report: CatalogReport, venues: list[Venue]) -> None:
        self.pipeline = Pipeline(
            {Venue.POLYMARKET: Polymarket(), Venue.KALSHI: Kalshi(use_yes_price=True)},
            self._close,
            describing=describing(venues),
        )
        self._store = store
        self._clock = clock
        self._report = report
        self._number = 0
        self._since = 0  # markets named since the last segment's end
        self._closed: list[Segment] = []
        self._publishing = asyncio.Lock()
        self._without: list[int] = []  # first `seq`s of segments without rows since the last one that had some

    def remember(self) -> None:
        """Newest versions and figures of the lake into the pipeline's memory, so that only changes make rows."""
        remember(self._store, MARKETS, self.pipeline.markets)
        remember(self._store, EVENTS, self.pipeline.events)
        remember_stats(self._store, self.pipeline.stats)

    async def read(self, venue: Venue, http: Http, keeper: Keeper) -> None:
        """One reading of the venue, or as much of it as it gives: what came in stands."""
        try:
            found = await keeper.step()
            if found.fault is not None:
                self._report.faults[venue] = str(found.fault)
        finally:
            await http.close()

    async def put(self, venue: Venue, page: Page) -> None:
        """Take a page."""
        name = sweep_name(venue) if page.is_change else catalog_name(venue)
        self.pipeline.feed(Frame(self._next(), name, self._clock.wall(), page.payload, page.wire))
        self._report.pages[venue] += 1
        self._since += len(page.markets)
        if self._since >= AT_ONCE:
            await self.settle()
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """All that was taken is in the lake."""
        self._since = 0
        if self.pipeline.open is not None:
            self.pipeline.take(Cut(seq=self._next(), received=self._clock.wall()))
        await self._publish()

    async def end(self) -> None:
        """The pass is over."""
        self.pipeline.finish(self._clock.wall())
        self._report.unreadable = self.pipeline.counts.outcomes[Outcome.DEAD]
        await self._publish()

    def _next(self) -> int:
        self._number += 1
        return frame_seq(self._report.epoch, self._number - 1)

    def _close(self, segment: Segment) -> None:
        self._closed.append(_changes(segment))

    async def _publish(self) -> None:
        async with self._publishing:
            while self._closed:
                segment = self._closed[0]
                if not segment.rows:  # it is a part of the next one that has some, so that no number is missing
                    self._without.append(segment.first_seq)
                else:
                    segment.first_seq = min([segment.first_seq, *self._without])
                    self._without.clear()
                    rows = Counter[str]()
                    for (table, _), found in segment.rows.items():
                        rows[table.name] += len(found)
                    await asyncio.to_thread(publish, self._store, segment, COLLECTOR)
                    self._report.rows.update(rows)
                del self._closed[0]


def _changes(segment: Segment) -> Segment:
    """The segment without rows that tell of the pass itself: it is no feed, whose health or silence counts."""
    segment.rows = {key: rows for key, rows in segment.rows.items() if key[0] in (MARKETS, EVENTS, VENUE_STATS)}
    return segment


def _address(settings: Settings, venue: Venue) -> str:
    addresses = settings.addresses
    return addresses.polymarket_gamma_url if venue is Venue.POLYMARKET else addresses.kalshi_api_url


def _opener(clock: Clock, timing: Timing) -> OpenHttp:
    def make(venue: Venue, address: str) -> Http:
        return Http(address, rate=rate_of(venue), rng=Random(), timing=timing, clock=clock)

    return make

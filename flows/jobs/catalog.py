"""The venues' whole catalogues, read once and written where they changed: markets, events, reported figures.

A collector of its own, named `catalog`, with an epoch a pass: its pages go through the collector's pipeline, whose
memory starts with the newest versions in the lake. So two passes over the same pages write the second time nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from flows.collector.catalog import pages, rate_of
from flows.collector.former import next_epoch, remember
from flows.collector.http import Http, VenueError
from flows.collector.making import catalog_name
from flows.collector.pipeline import Pipeline
from flows.collector.sealing import publish
from flows.collector.segments import Segment
from flows.collector.timing import Clock, Timing
from flows.venues.base import Frame, Outcome, Stats, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.reading import dates
from lake.schema import EVENTS, MARKETS, VENUE_STATS
from lake.settings import Settings
from lake.store import Store
from lake.vocab import Mode, Venue

COLLECTOR: Final = "catalog"
RECENT_DAYS: Final = 2  # of reported figures, which are soon old

OpenHttp = Callable[[Venue, str], Http]


@dataclass(slots=True)
class CatalogReport:
    """What a pass brought."""

    epoch: int
    pages: Counter[Venue] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)  # by table, those that were new
    unreadable: int = 0  # markets, events and pages
    faults: dict[Venue, str] = field(default_factory=dict)  # venues that were not read to the end, and why

    def __str__(self) -> str:
        changed = ", ".join(f"{count:,} {name}" for name, count in sorted(self.rows.items())) or "nothing new"
        unreadable = f", {self.unreadable:,} unreadable" if self.unreadable else ""
        faults = "".join(f"; {venue.value} broke off: {fault}" for venue, fault in self.faults.items())
        return f"{self.pages.total()} pages: {changed}{unreadable}{faults}"


async def sync_catalog(
    settings: Settings, store: Store, *, clock: Clock | None = None, open_http: OpenHttp | None = None
) -> CatalogReport:
    """Read both catalogues and publish what changed. A venue that fails does not stop the other: see `faults`.

    Raises `LakeError` if the lake cannot be written.
    """
    now = clock or Clock()
    epoch = await asyncio.to_thread(next_epoch, store, COLLECTOR)
    report, segments = CatalogReport(epoch), list[Segment]()
    venues = [Venue.POLYMARKET] if settings.collector_mode is Mode.POLYMARKET else list(Venue)
    pipeline = Pipeline(
        {Venue.POLYMARKET: Polymarket(), Venue.KALSHI: Kalshi(use_yes_price=True)},
        segments.append,
        describing=[catalog_name(venue) for venue in venues],
    )
    await asyncio.to_thread(_remember_all, pipeline, store)
    make = open_http or _opener(now)
    reading = _Reading(pipeline, epoch, now, report)
    await asyncio.gather(*(reading.venue(venue, make(venue, _address(settings, venue))) for venue in venues))
    pipeline.finish(now.wall())
    report.unreadable = pipeline.counts.outcomes[Outcome.DEAD]
    for segment in map(_changes, segments):
        if segment.rows:
            rows = {table.name: len(found) for (table, _), found in segment.rows.items()}
            await asyncio.to_thread(publish, store, segment, COLLECTOR)
            report.rows.update(rows)
    return report


def _remember_all(pipeline: Pipeline, store: Store) -> None:
    """Newest versions and figures of the lake into the pipeline's memory, so that only changes make rows."""
    remember(store, MARKETS, pipeline.markets)
    remember(store, EVENTS, pipeline.events)
    recent = store.scan(VENUE_STATS, dates=dates(store, VENUE_STATS)[-RECENT_DAYS:])
    last = recent.sort("received_time", "seq").unique("market_key", keep="last", maintain_order=True)
    for row in last.select(*VENUE_STATS.columns).drop("received_time", "seq").collect().iter_rows(named=True):
        market = row.pop("market_key")
        pipeline.stats[market] = Stats(market, **row)


class _Reading:
    """Pages of all venues into one pipeline, numbered as they come."""

    def __init__(self, pipeline: Pipeline, epoch: int, clock: Clock, report: CatalogReport) -> None:
        self._pipeline = pipeline
        self._epoch = epoch
        self._clock = clock
        self._report = report
        self._number = 0

    async def venue(self, venue: Venue, http: Http) -> None:
        """Read the venue's pages to the end, or until it fails: what came in stands."""
        try:
            async for wire, page in pages(http, venue):
                seq = frame_seq(self._epoch, self._number)
                self._number += 1
                self._pipeline.feed(Frame(seq, catalog_name(venue), self._clock.wall(), page, wire))
                self._report.pages[venue] += 1
                await asyncio.sleep(0)
        except VenueError as exc:
            self._report.faults[venue] = str(exc)
        finally:
            await http.close()


def _changes(segment: Segment) -> Segment:
    """The segment without rows that tell of the pass itself: it is no feed, whose health or silence counts."""
    segment.rows = {key: rows for key, rows in segment.rows.items() if key[0] in (MARKETS, EVENTS, VENUE_STATS)}
    return segment


def _address(settings: Settings, venue: Venue) -> str:
    addresses = settings.addresses
    return addresses.polymarket_gamma_url if venue is Venue.POLYMARKET else addresses.kalshi_api_url


def _opener(clock: Clock) -> OpenHttp:
    def make(venue: Venue, address: str) -> Http:
        return Http(address, rate=rate_of(venue), rng=Random(), timing=Timing(), clock=clock)

    return make

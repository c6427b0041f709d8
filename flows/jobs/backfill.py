"""The past that the lake lacks, asked of the venues: history and trades, the gaps that are on record first.

A collector of its own, named `backfill`, with an epoch a run. What comes lies in the day in which it happened. What
the lake has is left out: a trade by its id, on Polymarket by its market and transaction; a bar by its start. So a run
may be killed at any moment and done again. What was answered is noted once its rows are in the lake.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

import polars as pl

from flows.collector.backfill import Hole, history, history_name, requests_of
from flows.collector.batches import batched
from flows.collector.former import next_epoch
from flows.collector.http import Http, Refused, VenueError
from flows.collector.pipeline import Pipeline
from flows.collector.sealing import frames_of, span_of
from flows.collector.segments import Rule, Segment
from flows.collector.tapes import TOGETHER, Page, kept_since, trades
from flows.collector.timing import Clock, Timing
from flows.collector.universe import Listed
from flows.jobs.answered import AnsweredFile
from flows.jobs.found import chosen_markets, everything, gap_rows, look, new_rows, sweep
from flows.jobs.holes import Ask, Gap, Kind, filled, plan
from flows.venues.base import HISTORY_US, Adapter, Frame, Outcome, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake import retain
from lake.clock import DAY_US, MINUTE_US, day_of, floor_to, from_us, to_us
from lake.derived.bars import BACKFILLED_AGE
from lake.errors import SettingError
from lake.lease import sole
from lake.schema import BLOCKS, GAPS, HISTORY, QUOTES, TRADES
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text
from lake.vocab import Mode, Venue

COLLECTOR: Final = "backfill"

SETTLED_US: Final = BACKFILLED_AGE // timedelta(microseconds=1)
"""Nothing younger is asked for: a venue's tape lags behind its socket."""

REACH_US: Final = 14 * DAY_US
"""Nothing older is asked for: history in bars of five minutes is served for little longer."""

RATES: Final = {"data": 6.0, "clob": 8.0, "kalshi": 6.0}  # requests a second, a third of what a venue allows, or less
GIVEN_UP: Final = 3  # failures in a row after which a venue is left alone
MOST_ASKS: Final = 500  # whose answers are published together,
MOST_BYTES: Final = 8 << 20
MOST_SECONDS: Final = 5.0  # or what came in so long: a kill costs no more

MOST_FAULTS: Final = 20  # that are told

OpenHttp = Callable[[str, float], Http]
"""A client of that address, for so many requests a second."""

Progress = Callable[[int, int, Venue], None]
"""How much is done, of how much, of which venue."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be filled."""

    since: datetime
    until: datetime | None = None  # None = now
    venues: Collection[Venue] = tuple(Venue)
    markets: Sequence[str] | None = None  # ids, with or without their venue; None = all that are or were followed


@dataclass(slots=True)
class BackfillReport:
    """What a run brought."""

    epoch: int
    markets: int = 0  # that were asked for
    requests: int = 0
    rows: Counter[str] = field(default_factory=Counter)  # by table, those that were new
    gaps: int = 0  # filled
    unfilled: int = 0  # gaps of that time that are not, or not over yet
    unreadable: int = 0  # messages
    faults: Counter[str] = field(default_factory=Counter)  # what could not be filled and why; requests

    def __str__(self) -> str:
        return "; ".join([self.brought(), *self.told()])

    def brought(self) -> str:
        """What came, in a line."""
        left = f", {self.unfilled:,} not over or not whole yet" if self.unfilled else ""
        unreadable = f", {self.unreadable:,} unreadable messages (table dead_letters)" if self.unreadable else ""
        return (
            f"{self.markets:,} markets asked for in {self.requests:,} requests: "
            f"{self.rows[HISTORY.name]:,} bars and {self.rows[TRADES.name]:,} trades were missing, "
            f"{self.gaps:,} gaps filled{left}{unreadable}"
        )

    def told(self) -> list[str]:
        """What could not be filled and why, the most frequent first."""
        lines = [fault + (f" ({count:,} times)" if count > 1 else "") for fault, count in self.faults.most_common()]
        rest = len(lines) - MOST_FAULTS
        return lines if rest <= 0 else [*lines[:MOST_FAULTS], f"and {rest:,} more"]


async def backfill(
    settings: Settings,
    store: Store,
    wanted: Wanted,
    *,
    clock: Clock | None = None,
    open_http: OpenHttp | None = None,
    progress: Progress = lambda done, total, what: None,
) -> BackfillReport:
    """Fill what is wanted. A venue that fails does not stop the other: see `faults`.

    Raises `SettingError` on what cannot be asked for, `LakeError` if the lake cannot be written, or another is at it.
    """
    now = clock or Clock()
    start, end = _span(settings, wanted, now.wall())
    venues = _venues(settings, wanted)
    with sole(store, COLLECTOR, lambda: next_epoch(store, COLLECTOR)) as own:
        await asyncio.to_thread(sweep, own, COLLECTOR)
        report = BackfillReport(next_epoch(own, COLLECTOR))
        run = _Run(own, AnsweredFile(own.local), report, now, progress)
        chosen = await asyncio.to_thread(chosen_markets, own, settings, venues, wanted.markets)
        make = open_http or _opener(settings, now)
        work = [_Venue(run, venue, settings, make) for venue in venues if wanted.markets is None or chosen[venue]]
        await asyncio.gather(*(each.fill(chosen[each.venue], start, end, wanted.markets) for each in work))
        return run.report


class _Run:
    """What the venues share: the numbers of frames, what is published, and the report."""

    def __init__(
        self, store: Store, answered: AnsweredFile, report: BackfillReport, clock: Clock, progress: Progress
    ) -> None:
        self.store = store
        self.answered = answered
        self.report = report
        self.clock = clock
        self.progress = progress
        self._number = 0
        self._turn = asyncio.Lock()  # a segment's numbers follow one another

    async def publish(self, adapter: Adapter, venue: Venue, answers: list[Page], asks: list[Ask]) -> None:
        """The rows of these answers that are new, into the day of `asks`; then note that these were answered."""
        async with self._turn:
            await asyncio.to_thread(self._publish, adapter, venue, answers, asks)

    def _publish(self, adapter: Adapter, venue: Venue, answers: list[Page], asks: list[Ask]) -> None:
        segments = list[Segment]()
        pipeline = Pipeline({venue: adapter}, segments.append, rule=_ONE_SEGMENT)
        for wire, answer in answers:
            pipeline.feed(Frame(self._next(), history_name(venue), self.clock.wall(), answer, wire))
        pipeline.finish(self.clock.wall())
        self.report.unreadable += pipeline.counts.outcomes[Outcome.DEAD]
        for segment in segments:
            segment.rows = new_rows(self.store, venue, segment.rows, asks)
            self._write(segment, day_of(asks[0].start))
        self.answered.add(venue, asks)
        self.answered.save(self.clock.wall())

    async def tell_filled(self, venue: Venue, gaps: list[Gap], rows: pl.DataFrame) -> None:
        """Write these gaps again, as back-filled; `rows` are those that `gaps` were read from."""
        async with self._turn:
            seq, now = self._next(), self.clock.wall()
            segment = Segment(seq, now, seq, now)
            segment.rows[GAPS, venue.value] = gap_rows(rows, gaps, seq)
            await asyncio.to_thread(self._write, segment, day_of(now))

    def _next(self) -> int:
        self._number += 1
        return frame_seq(self.report.epoch, self._number - 1)

    def _write(self, segment: Segment, day: date) -> None:
        if not segment.rows:
            return
        frames = frames_of(segment)
        ends = segment.first_received, segment.last_received
        self.store.publish_segment(span_of(segment, COLLECTOR), day, segment.frames, frames, None, ends=ends)
        self.report.rows.update({table.name: frame.height for (table, _), frame in frames.items()})


class _Venue:
    """One venue's part of a run."""

    def __init__(self, run: _Run, venue: Venue, settings: Settings, make: OpenHttp) -> None:
        self.venue = venue
        self._run = run
        self._settings = settings
        self._make = make
        self._adapter: Adapter = Kalshi(use_yes_price=True)
        self._answers, self._asks = list[Page](), list[Ask]()
        self._bytes = self._failed = 0
        self._flushed = run.clock.monotonic()

    async def fill(self, chosen: list[Listed], start: int, end: int, named: Sequence[str] | None) -> None:
        """Ask for what is missing of [start, end), publish it, tell which gaps are filled."""
        store, answered = self._run.store, self._run.answered.of(self.venue)
        lake = await asyncio.to_thread(look, store, self.venue, start, end)
        every = await asyncio.to_thread(everything, store, self._settings, self.venue, lake)
        if self.venue is Venue.POLYMARKET:
            self._adapter = self._knowing(every + chosen)
        markets = every if named is None else chosen
        if not markets:
            self._fault("the lake knows no market of it yet; `movers collect` or `movers jobs` reads its catalogue")
        asks = plan(markets, lake.gaps, lake.known, answered, start, end)
        https = self._https()
        try:
            await self._ask_all(https, await self._served(https, asks))
            await self._flush()
        except VenueError as exc:
            self._fault(f"broke off: {exc}")
            await self._flush()
        finally:
            for http in {*https.values()}:
                await http.close()
        done = [*filled(lake.gaps, every, lake.known, answered, end)]
        if done:
            await self._run.tell_filled(self.venue, done, lake.gap_rows)
        self._run.report.gaps += len(done)
        self._run.report.unfilled += len(lake.gaps) - len(done)

    async def _ask_all(self, https: Mapping[Kind, Http], asks: list[Ask]) -> None:
        requests = _requests(self.venue, asks)
        self._run.report.markets += len({ask.market.market for ask in asks})
        for done, batch in enumerate(requests, 1):
            try:
                answers = [page async for page in self._ask(https, batch)]
                self._failed = 0
            except VenueError as exc:
                self._failed += 1
                self._fault(f"{batch[0].kind.value} of {_some(batch)}: {exc}")
                if self._failed >= GIVEN_UP:
                    left = len(requests) - done
                    raise Refused(f"{GIVEN_UP} requests in a row failed; {left:,} were not sent") from exc
                continue
            finally:
                self._run.report.requests += 1
                self._run.progress(done, len(requests), self.venue)
            await self._take(answers, batch)

    async def _take(self, answers: list[Page], batch: list[Ask]) -> None:
        if self._asks and day_of(self._asks[0].start) != day_of(batch[0].start):
            await self._flush()
        self._answers += answers
        self._asks += batch
        self._bytes += sum(len(answer) for _, answer in answers)
        age = self._run.clock.monotonic() - self._flushed
        if self._bytes >= MOST_BYTES or len(self._asks) >= MOST_ASKS or age >= MOST_SECONDS:
            await self._flush()

    async def _flush(self) -> None:
        answers, asks, self._answers, self._asks, self._bytes = self._answers, self._asks, [], [], 0
        self._flushed = self._run.clock.monotonic()
        if asks:
            await self._run.publish(self._adapter, self.venue, answers, asks)

    async def _ask(self, https: Mapping[Kind, Http], batch: list[Ask]) -> AsyncIterator[Page]:
        http, first = https[batch[0].kind], batch[0]
        if first.kind is Kind.HISTORY:
            yield await history(http, self.venue, [Hole(ask.market, ask.start, ask.end) for ask in batch])
            return
        async for page in trades(http, self.venue, [ask.market.native_id for ask in batch], first.start, first.end):
            yield page

    async def _served(self, https: Mapping[Kind, Http], asks: list[Ask]) -> list[Ask]:
        """Those that the venue still serves; what it does not is said."""
        if not any(ask.kind is Kind.TRADES for ask in asks):
            return asks
        try:
            since = await kept_since(https[Kind.TRADES], self.venue)
        except Refused:
            since = 0  # it does not say
        old = [ask for ask in asks if ask.kind is Kind.TRADES and ask.start < since]
        if old:
            self._fault(
                f"serves no trades of before {from_us(since):%Y-%m-%d %H:%M} UTC any more; give a later --since"
            )
        late = [ask._replace(start=-floor_to(-max(ask.start, since), HISTORY_US)) for ask in old]
        rest = iter(late)
        cut = [next(rest) if ask.kind is Kind.TRADES and ask.start < since else ask for ask in asks]
        return [ask for ask in cut if ask.start < ask.end]

    def _https(self) -> dict[Kind, Http]:
        addresses = self._settings.addresses
        if self.venue is Venue.POLYMARKET:
            return {
                Kind.HISTORY: self._make(addresses.polymarket_clob_url, RATES["clob"]),
                Kind.TRADES: self._make(addresses.polymarket_data_url, RATES["data"]),
            }
        return dict.fromkeys(Kind, self._make(addresses.kalshi_api_url, RATES["kalshi"]))

    @staticmethod
    def _knowing(markets: Iterable[Listed]) -> Polymarket:
        adapter = Polymarket()
        for one in markets:
            adapter.know(one.market, [*one.tokens])
        return adapter

    def _fault(self, line: str) -> None:
        self._run.report.faults[f"{self.venue.value}: {line}"] += 1


_ONE_SEGMENT: Final = Rule(longest=lambda received: 1 << 62, edge=1 << 62)


def _requests(venue: Venue, asks: list[Ask]) -> list[list[Ask]]:
    """The asks that go into one request together, gaps first: of one kind, day and span."""
    requests = list[list[Ask]]()
    for is_gap in (True, False):
        for kind in Kind:
            mine = [ask for ask in asks if ask.is_gap is is_gap and ask.kind is kind]
            if kind is Kind.HISTORY:
                holes = requests_of((Hole(ask.market, ask.start, ask.end) for ask in mine), venue)
                requests += [[Ask(kind, *hole, is_gap) for hole in batch] for batch in holes]
                continue
            groups: dict[tuple[int, int], list[Ask]] = {}
            for ask in mine:
                groups.setdefault((ask.start, ask.end), []).append(ask)
            size = TOGETHER if venue is Venue.POLYMARKET else 1
            requests += [batch for group in groups.values() for batch in batched(group, size)]
    return requests


def _some(batch: list[Ask]) -> str:
    first, more = batch[0].market.native_id, len(batch) - 1
    return safe_text(first, 60) + (f" and {more} more" if more else "")


def _span(settings: Settings, wanted: Wanted, now: int) -> tuple[int, int]:
    """The span that is asked for, on edges of bars; empty where none of it is old enough. Raises `SettingError`."""
    since, until = to_us(wanted.since), now if wanted.until is None else to_us(wanted.until)
    if since >= now:
        raise SettingError(f"--since {wanted.since:%FT%TZ}: is not in the past; give an instant before now")
    if since >= until:
        raise SettingError(f"--since {wanted.since:%FT%TZ}: is not before --until {from_us(until):%FT%TZ}; swap them")
    oldest = now - _reach(settings)
    if since < oldest:
        raise SettingError(
            f"--since {wanted.since:%FT%TZ}: is further back than what can be filled; "
            f"give {from_us(-floor_to(-oldest, MINUTE_US)):%FT%TZ} or later"
        )
    end = floor_to(min(until, now - SETTLED_US), HISTORY_US)
    return min(end, floor_to(since, HISTORY_US)), end


def _reach(settings: Settings) -> int:
    """How far back is filled: bars of a time whose blocks are gone would be made anew from what is filled alone."""
    kept = retain.kept(settings.retention_days, settings.raw_retention_hours)
    days = [age for age in (kept[QUOTES.name], kept[BLOCKS.name]) if age is not None]
    return min([REACH_US, *(age // timedelta(microseconds=1) - DAY_US for age in days)])


def _venues(settings: Settings, wanted: Wanted) -> list[Venue]:
    """Those that are asked. Raises `SettingError` in a mode that does not have them."""
    mode = settings.collector_mode
    if mode is Mode.REPLAY:
        raise SettingError("COLLECTOR_MODE=replay: has no venue to ask; set simulated, polymarket or live")
    there = [Venue.POLYMARKET] if mode is Mode.POLYMARKET else list(Venue)
    venues = [venue for venue in there if venue in wanted.venues]
    if not venues:
        raise SettingError(f"COLLECTOR_MODE={mode.value}: has no {', '.join(wanted.venues)}; set COLLECTOR_MODE=live")
    return venues


def _opener(settings: Settings, clock: Clock) -> OpenHttp:
    def make(address: str, rate: float) -> Http:
        return Http(address, rate=rate, rng=Random(), timing=Timing.of(settings), clock=clock)

    return make

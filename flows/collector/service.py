"""The live collector: both venues at once, one pipeline, one writer; what stops one venue does not stop the other.

Sockets put frames into the intake, which records them in the write-ahead log; one consumer takes them out, a few
milliseconds at a time, and feeds the pipeline. Threads write the log, show the rows of the open segment and publish the
closed ones; what a former life left in its log is sealed beside all that. On `stop` the sockets are closed first, then
everything that came in is published.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from flows.collector.backfill import PAUSE, Backfill
from flows.collector.catalog import rate_of
from flows.collector.chorus import Chorus
from flows.collector.commits import Commits
from flows.collector.connection import Link, is_worth_a_word
from flows.collector.figures import Figures
from flows.collector.former import last_word, next_epoch, remember, remember_stats
from flows.collector.health import Minute, quantile
from flows.collector.http import Http
from flows.collector.intake import Intake
from flows.collector.journal import Item
from flows.collector.kalshi_session import KalshiSession
from flows.collector.making import catalog_name, live_pipeline
from flows.collector.pipeline import Counts, Listener, Pipeline
from flows.collector.places import PlaceFile
from flows.collector.polymarket_session import CLOB_RATE, PolymarketSession
from flows.collector.recover import rebuild, recover
from flows.collector.sealing import Sealer, Waiting
from flows.collector.segments import Rule, Segment
from flows.collector.session import Common, Session
from flows.collector.signing import key_of
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import rule_of
from flows.venues.base import Frame, Outcome, Wire
from flows.venues.strangers import Sample
from lake import disk, hot, wal
from lake.clock import MINUTE_US, SECOND_US
from lake.errors import SettingError
from lake.layout import Life
from lake.schema import EVENTS, MARKETS
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text
from lake.vocab import Gap, Mode, Venue

LOG: Final = logging.getLogger("movers.collector")
QUIET: Final = ("httpx", "httpcore", "websockets")
"""Libraries that would log whole addresses, with their queries."""

LOOK: Final = 0.02  # seconds between two looks into the intake
SLICE: Final = 0.008  # seconds of work after which receivers have their turn
STEP: Final = 2 * SECOND_US
"""A wall clock that is set by more than this is told of."""

SHOW: Final = 0.15
"""Seconds between two looks at the rows of the open segment: they are shown some 250 ms after they came in."""


@dataclass(slots=True)
class CollectReport:
    """What a collector did from its start to its stop."""

    epoch: int
    counts: Counts = field(default_factory=Counts)
    segments: int = 0
    rows: int = 0  # published
    unpublished: int = 0  # segments that could not be written before the end
    connects: int = 0
    seconds: float = 0.0


async def collect(
    settings: Settings,
    store: Store,
    stop: asyncio.Event,
    *,
    say: Callable[[str], None],
    rng: Random | None = None,
    clock: Clock | None = None,
    timing: Timing | None = None,
    backfill_pause: float = PAUSE,
    on_commit: Callable[[int], None] = lambda number: None,
) -> CollectReport:
    """Collect until `stop`; `say` gets a line whenever something happens that a person wants to know,
    `on_commit` the number of the newest record whenever it is on disk.

    Raises `SettingError` in mode replay, `LakeError` where the lake cannot be read, `PublishConflict` if another
    collector writes under this one's name.
    """
    if settings.collector_mode is Mode.REPLAY:
        raise SettingError("COLLECTOR_MODE=replay: there is no venue to collect from; use `movers replay PATH`")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    clock, timing = clock or Clock(), timing or Timing.of(settings)
    live = _Live(settings, store, say, rng or Random(), clock, timing, backfill_pause, on_commit)
    return await live.run(stop)


class _Live:
    """Everything that runs, and the pipeline's listener."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        say: Callable[[str], None],
        rng: Random,
        clock: Clock,
        timing: Timing,
        backfill_pause: float,
        on_commit: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._say = say
        self._rng = rng
        self._clock = clock
        self._timing = timing
        self._backfill_pause = backfill_pause
        self._started = clock.wall()
        self._folder = settings.wal_dir or store.local / "wal"
        self._venues = [Venue.POLYMARKET] if settings.collector_mode is Mode.POLYMARKET else list(Venue)
        self._former = [life for life in wal.lives(self._folder) if life.collector == settings.collector_name]
        epochs = [next_epoch(store, settings.collector_name), *(life.epoch + 1 for life in self._former)]
        self._life = Life(settings.collector_name, max(epochs))
        boot_id = wal.boot_id()
        log = wal.Log(self._folder, self._life, boot_id)
        self._intake = Intake(
            self._life.epoch,
            clock,
            recorder=log,
            withheld=[catalog_name(venue) for venue in self._venues],
            # at the minute's edge too, so that the minute's refresh finds the whole minute
            rule=Rule(lambda received: timing.segment(received - self._started), MINUTE_US),
        )
        self._commits = Commits(
            log,
            self._intake,
            clock,
            say=say,
            is_low=lambda: disk.is_low(self._folder, settings.disk_reserve_bytes),
            on_commit=on_commit,
        )
        self._sealer = Sealer(
            store, self._life, self._commits, self._rebuild, boot_id=boot_id, timing=timing, rng=rng, say=say
        )
        self._minutes: dict[str, list[Minute]] = {}  # venue to minutes since the last line of health
        self._logged = self._started
        self._strangers = Sample()
        self._told: set[tuple[Wire, str, str]] = set()  # strangers that were told of
        self._failed = 0  # frames on which our own code failed, so far as they were told of
        self._pipeline = self._make(self._sealer, self)
        connects = Limiter(
            timing.connects_a_minute / 60, burst=timing.connects_a_minute, gap=timing.connect_gap, clock=clock
        )
        self._chorus = Chorus(say)
        self._link = Link(
            self._intake, clock, timing, rng, connects, say, self._chorus, self._sealer.kept, self._sealer.sealed
        )
        self._https: list[Http] = []
        self._sessions: dict[Venue, Session] = {venue: self._session(venue) for venue in self._venues}

    async def run(self, stop: asyncio.Event) -> CollectReport:
        """Until `stop`, then drain."""
        began = self._clock.monotonic()
        self._look_back()
        writing = [asyncio.create_task(work) for work in (self._commits.run(), self._sealer.run(), self._consume())]
        beside = [asyncio.create_task(work) for work in (self._show(), self._recover())]
        feeding = [asyncio.create_task(work) for work in self._work()]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, *writing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(stopping, *feeding)
            await self._drain(writing, beside)
        for task in writing:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self._report(self._clock.monotonic() - began)

    def _look_back(self) -> None:
        """Take up what the lake knows: markets and events, and where a former life broke off.

        Of a life that left a log, what is read from it says so (`_recover`).
        """
        self._remember(self._pipeline)
        name = self._settings.collector_name
        for life in hot.lives(self._store.local) - {*self._former}:
            if life.collector == name:  # all of it is sealed
                hot.remove(self._store.local, life)
        if self._former:
            return
        for venue in self._sessions:
            start = last_word(self._store, name, venue)
            if start is not None:
                self._intake.absent(venue, start)

    async def _recover(self) -> None:
        """Seal what former lives left in their logs; what cannot be sealed now stays for the next start."""
        for life in self._former:
            self._say(f"log: sealing what life {life} left")
            make = self._remembering
            try:
                report = await asyncio.to_thread(recover, self._store, self._folder, life, make, self._started)
                self._say(f"log: sealed {report}")
            except Exception as exc:  # a fault of ours among them: this life goes on, and that log stays
                LOG.exception("log of %s: not sealed", life)
                self._say(f"log: {safe_text(str(exc), 300)}; the log of life {life} stays until the next start")

    def _remembering(self, seal: Callable[[Segment], None]) -> Pipeline:
        """A pipeline for a log's records, which knows the markets that the lake knows."""
        pipeline = self._make(seal)
        self._remember(pipeline)
        return pipeline

    def _remember(self, pipeline: Pipeline) -> None:
        remember(self._store, MARKETS, pipeline.markets)
        remember(self._store, EVENTS, pipeline.events)
        remember_stats(self._store, pipeline.stats)

    def _rebuild(self, waiting: Waiting) -> Segment:
        return rebuild(self._folder, self._life, self._remembering, waiting)

    def _make(self, seal: Callable[[Segment], None], listener: Listener | None = None) -> Pipeline:
        return live_pipeline(seal, self._timing.poll_every, venues=self._venues, listener=listener)

    def _work(self) -> list[Any]:
        work: list[Any] = [self._keep(venue.value, session.run) for venue, session in self._sessions.items()]
        work += [self._watch_first_rows(), self._log_health()]
        work += [
            self._keep(f"{venue.value} figures", self._figures(session)) for venue, session in self._sessions.items()
        ]
        if self._settings.backfill_hours:
            work += [
                self._keep(f"{venue.value} history", self._backfill(session))
                for venue, session in self._sessions.items()
            ]
        return work

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run it; what nobody foresaw is said, and does not stop the rest."""
        failures = 0
        while True:
            try:
                return await run()
            except Exception as exc:
                failures += 1
                wait = self._timing.delay(failures + 3, self._rng)
                LOG.exception("%s: failed", name)
                self._say(f"{name}: failed ({type(exc).__name__}); again in {wait:.0f} s")
                await asyncio.sleep(wait)

    # --- consuming -------------------------------------------------------------------------------

    async def _consume(self) -> None:
        """Feed the pipeline in slices, and tell it the time when nothing waits."""
        now, due = self._clock.monotonic, 0.0
        while True:
            self._feed_slice()
            if len(self._intake):
                await asyncio.sleep(0)
                continue
            if now() >= due:
                due = now() + self._timing.tick
                step = self._intake.tick()
                if abs(step) > STEP:
                    self._say(f"clock: was set {step / SECOND_US:+,.1f} s; both clocks of every frame are in table raw")
                self._feed_slice()
            await asyncio.sleep(LOOK)

    def _feed_slice(self, seconds: float = SLICE) -> None:
        take, pipeline, now = self._intake.take, self._pipeline, self._clock.monotonic
        until = now() + seconds
        while (item := take()) is not None:
            pipeline.take(item)
            if isinstance(item, Frame) and not item.wire.is_poll:  # answers hold much that nobody reads
                self._strangers.look(item)
            if pipeline.counts.failed > self._failed:
                self._tell_failed(item)
            if now() > until:
                return

    async def _show(self) -> None:
        """Show the rows of the open segment to other processes, again and again."""
        while True:
            await self._sealer.show(self._pipeline.open)
            await asyncio.sleep(SHOW)

    def _tell_failed(self, item: Item) -> None:
        self._failed = self._pipeline.counts.failed
        if is_worth_a_word(self._failed) and isinstance(item, Frame):
            self._say(f"{item.connection}: our own code failed on a frame, {self._failed} so far; see dead_letters")

    async def _drain(self, writing: list[asyncio.Task[None]], beside: list[asyncio.Task[None]]) -> None:
        """Everything that came in becomes rows, and every row is published, within the time for it."""
        committing, sealing, consuming = writing
        await _cancel(consuming, *beside)
        self._intake.tick()
        self._feed_slice(float("inf"))
        self._pipeline.finish(self._clock.wall())
        finishing = asyncio.create_task(self._sealer.finish())
        ends = {finishing, committing, sealing}
        await asyncio.wait(ends, timeout=self._timing.drain_within, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(finishing, committing, sealing)
        self._commits.close()
        self._sealer.close()
        if not self._sealer.waiting:
            await asyncio.to_thread(wal.forget_all, self._folder, self._life)
        for http in self._https:
            await http.close()

    # --- the pipeline's listener -----------------------------------------------------------------

    def market_changed(self, venue: Venue, market: int, fields: Mapping[str, Any]) -> None:
        """Pass it to the venue's session."""
        self._sessions[venue].market_changed(market, fields)

    def books_lost(self, connection: str, markets: list[int], reason: Gap) -> None:
        """Pass it to the session whose connection it is."""
        for venue, session in self._sessions.items():
            if connection.startswith(venue.value):
                session.books_lost(connection, markets, reason)

    def trades_missed(self, venue: Venue, since: int, until: int) -> None:
        """Pass it to the venue's session."""
        self._sessions[venue].trades_missed(since, until)

    def minute_ended(self, connection: str, minute: Minute) -> None:
        """Keep it for the next line of health, which tells of what is followed, not of what is looked up."""
        if not connection.endswith(_LOOKED_UP):
            self._minutes.setdefault(minute.venue, []).append(minute)

    # --- words -----------------------------------------------------------------------------------

    async def _log_health(self) -> None:
        """A line a venue and minute, a moment after the minute's end, when its figures are whole."""
        while True:
            now = self._clock.wall()
            await asyncio.sleep((MINUTE_US - now % MINUTE_US) / SECOND_US + 2 * self._timing.tick)
            since, self._logged = self._logged, self._clock.wall()
            seconds = min(60, max(1, round((self._logged - since) / SECOND_US)))
            minutes, self._minutes = self._minutes, {}
            for venue, session in self._sessions.items():
                LOG.info("%s", health_line(venue, session, minutes.get(venue.value, []), seconds))
            self._log_strangers()

    def _log_strangers(self) -> None:
        """Fields and kinds that nothing here knows, once each: a venue's format may have changed."""
        for (wire, kind, path), (_, example) in self._strangers.found.items():
            if (wire, kind, path) not in self._told:
                self._told.add((wire, kind, path))
                what = f"field {kind}.{path}" if path else f"kind {kind}"
                LOG.warning("%s: a %s that nothing here knows, as in %s", wire.value, what, example)

    async def _watch_first_rows(self) -> None:
        waiting = set(self._sessions)
        while waiting:
            await asyncio.sleep(self._timing.tick)
            for venue in [venue for venue in waiting if ("quotes", venue.value) in self._sealer.seen]:
                waiting.discard(venue)
                seconds = (self._clock.wall() - self._started) / SECOND_US
                self._say(f"{venue.value}: first rows are in the lake, {seconds:.1f} s after the start")

    def _report(self, seconds: float) -> CollectReport:
        sealer = self._sealer
        self._chorus.flush()
        connects = sum(shard.opens for session in self._sessions.values() for shard in session.shards)
        if sealer.waiting:
            self._say(f"lake: {sealer.waiting} segments stay in the log, and are sealed at the next start")
        return CollectReport(
            self._life.epoch,
            self._pipeline.counts,
            segments=sealer.published,
            rows=sealer.rows,
            unpublished=sealer.waiting,
            connects=connects,
            seconds=seconds,
        )

    # --- making ----------------------------------------------------------------------------------

    def _session(self, venue: Venue) -> Session:
        addresses = self._settings.addresses
        if venue is Venue.POLYMARKET:
            listing = self._http(addresses.polymarket_gamma_url, rate_of(venue))
            polling = self._http(addresses.polymarket_clob_url, CLOB_RATE)
            common = Common(self._link, self._pipeline, rule_of(self._settings), listing, polling, self._place(venue))
            return PolymarketSession(
                common,
                addresses.polymarket_wss_url,
                tokens=self._settings.wss_tokens_per_connection,
                use_socket=self._settings.polymarket_use_wss,
            )
        rest = self._http(addresses.kalshi_api_url, rate_of(venue))
        common = Common(self._link, self._pipeline, rule_of(self._settings), rest, rest, self._place(venue))
        return KalshiSession(common, addresses.kalshi_wss_url, self._key())

    def _place(self, venue: Venue) -> PlaceFile:
        return PlaceFile(self._store.local, self._settings.collector_name, venue)

    def _key(self) -> Callable[[], Any] | None:
        """How to get Kalshi's key; None if there is none. A key that cannot be read is said on every handshake."""
        try:
            has_key = key_of(self._settings) is not None or self._settings.collector_mode is Mode.SIMULATED
        except SettingError:
            has_key = True
        return (lambda: key_of(self._settings)) if has_key else None

    def _http(self, base: str, rate: float) -> Http:
        http = Http(base, rate=rate, rng=self._rng, timing=self._timing, clock=self._clock)
        self._https.append(http)
        return http

    def _figures(self, session: Session) -> Callable[[], Awaitable[None]]:
        figures = Figures(session.venue, session.listing, self._link, every=self._timing.figures_every)

        async def run() -> None:
            await session.is_listed.wait()
            await figures.run(lambda: session.followed.values())

        return run

    def _backfill(self, session: Session) -> Callable[[], Awaitable[None]]:
        venue = session.venue
        backfill = Backfill(
            venue, self._store, session.history, self._link, self._settings.backfill_hours, pause=self._backfill_pause
        )

        async def run() -> None:
            while ("quotes", venue.value) not in self._sealer.seen:
                await asyncio.sleep(self._timing.tick)
            await backfill.run(lambda: list(session.followed.values()))

        return run


def health_line(venue: Venue, session: Session, minutes: list[Minute], seconds: int) -> str:
    """`polymarket: WSS Health: N msgs in 60s (N/min), subscriptions=N, ...` of a venue's minutes."""
    count = sum(minute.outcomes.total() for minute in minutes)
    subscribed = sum(shard.markets for shard in session.shards)
    good = sum(shard.is_good for shard in session.shards)
    lags = sorted(lag for minute in minutes for lag in minute.lags)
    middle, late = quantile(lags, 0.5), quantile(lags, 0.99)
    lag = "lag unknown" if middle is None or late is None else f"lag p50={middle:.0f}ms p99={late:.0f}ms"
    reconnects = sum(minute.reconnects for minute in minutes)
    dead = sum(minute.others[Outcome.DEAD] for minute in minutes)
    return (
        f"{venue.value}: WSS Health: {count:,} msgs in {seconds}s ({round(count * 60 / seconds):,}/min), "
        f"subscriptions={subscribed:,}, connections={good}/{len(session.shards)}, {lag}, "
        f"reconnects={reconnects}, dead={dead}"
    )


_LOOKED_UP: Final = ("-catalog", "-figures", "-history", "-audit", "-sweep")


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""The live collector: both venues at once, one pipeline, one writer; what stops one venue does not stop the other.

Sockets put frames into the intake; one consumer takes them out, a few milliseconds at a time, feeds the pipeline, and
tells it the time; closed segments are published by a thread. On `stop` the sockets are closed first, then everything
that came in is published.
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
from flows.collector.connection import Link, is_worth_a_word
from flows.collector.former import last_word, next_epoch, remember
from flows.collector.health import Minute, quantile
from flows.collector.http import Http
from flows.collector.intake import Intake
from flows.collector.kalshi_session import KalshiSession
from flows.collector.pipeline import Counts, Pipeline
from flows.collector.polymarket_session import CLOB_RATE, PolymarketSession
from flows.collector.sealing import Sealer
from flows.collector.session import Common, Session, catalog_name, poll_name
from flows.collector.signing import key_of
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import rule_of
from flows.venues.base import Closed, Frame, Outcome
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import MINUTE_US, SECOND_US
from lake.errors import SettingError
from lake.schema import EVENTS, MARKETS
from lake.settings import Settings
from lake.store import Store
from lake.vocab import Gap, Mode, Venue

LOG: Final = logging.getLogger("movers.collector")
QUIET: Final = ("httpx", "httpcore", "websockets")
"""Libraries that would log whole addresses, with their queries."""

LOOK: Final = 0.02  # seconds between two looks into the intake
SLICE: Final = 0.008  # seconds of work after which receivers have their turn


@dataclass(slots=True)
class CollectReport:
    """What a collector did from its start to its stop."""

    epoch: int
    counts: Counts = field(default_factory=Counts)
    segments: int = 0
    rows: int = 0  # published
    unpublished: int = 0  # segments that could not be written before the end
    skipped: int = 0  # frames on which a parser failed as it never should
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
) -> CollectReport:
    """Collect until `stop`; `say` gets a line whenever something happens that a person wants to know.

    Raises `SettingError` in mode replay, `LakeError` where the lake cannot be read, `PublishConflict` if another
    collector writes under this one's name.
    """
    if settings.collector_mode is Mode.REPLAY:
        raise SettingError("COLLECTOR_MODE=replay: there is no venue to collect from; use `movers replay PATH`")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    live = _Live(settings, store, say, rng or Random(), clock or Clock(), timing or Timing.of(settings), backfill_pause)
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
    ) -> None:
        self._settings = settings
        self._store = store
        self._say = say
        self._rng = rng
        self._clock = clock
        self._timing = timing
        self._backfill_pause = backfill_pause
        self._started = clock.wall()
        self._epoch = next_epoch(store, settings.collector_name)
        self._intake = Intake(self._epoch, clock)
        self._sealer = Sealer(store, settings.collector_name, timing=timing, rng=rng, say=say)
        self._minutes: dict[str, list[Minute]] = {}  # venue to minutes since the last line of health
        self._logged = self._started
        self._unforeseen = 0  # frames that were skipped
        venues = [Venue.POLYMARKET] if settings.collector_mode is Mode.POLYMARKET else list(Venue)
        every = round(timing.poll_every * SECOND_US)
        self._pipeline = Pipeline(
            {Venue.POLYMARKET: Polymarket(), Venue.KALSHI: Kalshi(use_yes_price=True)},
            self._sealer,
            {poll_name(venue): every for venue in venues},
            describing=[catalog_name(venue) for venue in venues],
            longest=lambda received: timing.segment(received - self._started),
            edge=MINUTE_US,  # so that the minute's refresh finds the whole minute
            listener=self,
        )
        connects = Limiter(
            timing.connects_a_minute / 60, burst=timing.connects_a_minute, gap=timing.connect_gap, clock=clock
        )
        self._chorus = Chorus(say)
        self._link = Link(self._intake, clock, timing, rng, connects, say, self._chorus)
        self._https: list[Http] = []
        self._sessions: dict[Venue, Session] = {venue: self._session(venue) for venue in venues}

    async def run(self, stop: asyncio.Event) -> CollectReport:
        """Until `stop`, then drain."""
        began = self._clock.monotonic()
        self._look_back()
        sealing, consuming = asyncio.create_task(self._sealer.run()), asyncio.create_task(self._consume())
        feeding = [asyncio.create_task(work) for work in self._work()]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, sealing, consuming], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(stopping, *feeding)
            await self._drain(sealing, consuming)
        for task in (sealing, consuming):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self._report(self._clock.monotonic() - began)

    def _look_back(self) -> None:
        """Take up what the lake knows: markets and events, and where a former life broke off."""
        remember(self._store, MARKETS, self._pipeline.markets)
        remember(self._store, EVENTS, self._pipeline.events)
        for venue in self._sessions:
            start = last_word(self._store, self._settings.collector_name, venue)
            if start is not None:
                self._pipeline.absent(venue, start, self._started, self._intake.spare)

    def _work(self) -> list[Any]:
        work: list[Any] = [self._keep(venue.value, session.run) for venue, session in self._sessions.items()]
        work += [self._watch_first_rows(), self._log_health()]
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
            if not self._sealer.is_full:
                self._feed_slice()
            if len(self._intake):
                await asyncio.sleep(0 if not self._sealer.is_full else LOOK)
                continue
            if now() >= due:
                due = now() + self._timing.tick
                self._pipeline.tick(self._clock.wall(), self._intake.spare)
            await asyncio.sleep(LOOK)

    def _feed_slice(self, seconds: float = SLICE) -> None:
        take, feed, now = self._intake.take, self._pipeline.feed, self._clock.monotonic
        until = now() + seconds
        while (item := take()) is not None:
            if isinstance(item, Frame):
                try:
                    feed(item)
                except Exception:
                    self._skipped(item)
            elif isinstance(item, Closed):
                self._pipeline.closed(item)
            else:
                self._pipeline.opened(item)
            if now() > until:
                return

    def _skipped(self, frame: Frame) -> None:
        """A frame on which the parsers fail, as they never should, must not end the feed."""
        self._unforeseen += 1
        if is_worth_a_word(self._unforeseen):
            LOG.exception("%s: a frame of %s bytes was skipped", frame.connection, len(frame.payload))
            self._say(f"{frame.connection}: a frame could not be processed and was skipped, {self._unforeseen} so far")

    async def _drain(self, sealing: asyncio.Task[None], consuming: asyncio.Task[None]) -> None:
        """Everything that came in becomes rows, and every row is published, within the time for it."""
        await _cancel(consuming)
        self._feed_slice(float("inf"))
        self._pipeline.finish(self._clock.wall(), self._intake.spare)
        finishing = asyncio.create_task(self._sealer.finish())
        await asyncio.wait([finishing, sealing], timeout=self._timing.drain_within, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(finishing, sealing)
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
        connects = sum(connection.opens for session in self._sessions.values() for connection in session.connections)
        if sealer.waiting:
            self._say(f"lake: {sealer.waiting} segments could not be written before the end")
        return CollectReport(
            self._epoch,
            self._pipeline.counts,
            segments=sealer.published,
            rows=sealer.rows,
            unpublished=sealer.waiting,
            skipped=self._unforeseen,
            connects=connects,
            seconds=seconds,
        )

    # --- making ----------------------------------------------------------------------------------

    def _session(self, venue: Venue) -> Session:
        addresses = self._settings.addresses
        if venue is Venue.POLYMARKET:
            listing = self._http(addresses.polymarket_gamma_url, rate_of(venue))
            polling = self._http(addresses.polymarket_clob_url, CLOB_RATE)
            common = Common(self._link, self._pipeline, rule_of(self._settings), listing, polling)
            return PolymarketSession(common, addresses.polymarket_wss_url, use_socket=self._settings.polymarket_use_wss)
        rest = self._http(addresses.kalshi_api_url, rate_of(venue))
        common = Common(self._link, self._pipeline, rule_of(self._settings), rest, rest)
        return KalshiSession(common, addresses.kalshi_wss_url, self._key())

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
    subscribed = sum(connection.speaker.markets for connection in session.connections)
    good = sum(connection.is_good for connection in session.connections)
    lags = sorted(lag for minute in minutes for lag in minute.lags)
    middle, late = quantile(lags, 0.5), quantile(lags, 0.99)
    lag = "lag unknown" if middle is None or late is None else f"lag p50={middle:.0f}ms p99={late:.0f}ms"
    reconnects = sum(minute.reconnects for minute in minutes)
    dead = sum(minute.others[Outcome.DEAD] for minute in minutes)
    return (
        f"{venue.value}: WSS Health: {count:,} msgs in {seconds}s ({round(count * 60 / seconds):,}/min), "
        f"subscriptions={subscribed:,}, connections={good}/{len(session.connections)}, {lag}, "
        f"reconnects={reconnects}, dead={dead}"
    )


_LOOKED_UP: Final = ("-catalog", "-history")


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""A raw recording of both venues for some minutes, with a report: for the first day with a network, or a bad one.

The sockets are the collector's own, so is what is said on them; a tape in place of the log keeps what came in. Beside
them probes ask over REST. Nothing goes into a lake: `movers replay` makes the rows of it that the collector would have.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from flows.collector import catalog
from flows.collector.batches import batched
from flows.collector.census import Census
from flows.collector.chorus import Chorus
from flows.collector.connection import Connection, Link, is_worth_a_word
from flows.collector.first_pages import first_pages
from flows.collector.http import Http, VenueError
from flows.collector.intake import Intake
from flows.collector.kalshi_session import POLLED, TradeApi
from flows.collector.making import catalog_name, describing, poll_name
from flows.collector.pipeline import Pipeline
from flows.collector.polymarket_session import BOOKS, CLOB_RATE, MarketChannel
from flows.collector.probes import Answers, Prober, kalshi, polymarket
from flows.collector.questions import answered
from flows.collector.replay import adapters
from flows.collector.segments import Segment
from flows.collector.signing import Key, key_of
from flows.collector.tape import Tape
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import Listed, Rule, listed
from flows.venues.base import Wire
from lake.clock import SECOND_US, from_us
from lake.errors import RecordingError, SettingError
from lake.settings import Settings
from lake.text import safe_text
from lake.vocab import Mode, Venue

LOG: Final = logging.getLogger("movers.capture")

FRAMES: Final = "frames.jsonl.gz"
PROBES: Final = "probes.jsonl.gz"
REPORT: Final = "report.json"

DATA_RATE: Final = 5.0
QUIET: Final = ("httpx", "httpcore", "websockets")
"""Libraries that would log whole addresses, with their queries."""

LOOK: Final = 0.02  # seconds between two looks into the intake
STEP: Final = 0.25  # seconds between two words of progress
SLICE: Final = 200  # items after which receivers have their turn


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is captured: the `top` most traded markets of each venue, or those of `ids`, for `seconds`."""

    seconds: float
    venues: tuple[Venue, ...] = tuple(Venue)
    top: int = 100
    ids: frozenset[str] = frozenset()


async def capture(
    settings: Settings,
    folder: Path,
    wanted: Wanted,
    stop: asyncio.Event,
    *,
    say: Callable[[str], None],
    rng: Random | None = None,
    clock: Clock | None = None,
    timing: Timing | None = None,
    progress: Callable[[float, int], None] = lambda seconds, frames: None,
    on_segment: Callable[[Segment], None] = lambda segment: None,
) -> dict[str, Any]:
    """Capture into the new `folder` until the time is over, or `stop`; the report, which is in the folder too.

    `progress` gets the seconds so far and the frames; `on_segment` the rows that the collector would have written.
    Raises `SettingError` in mode replay or where there is something in the folder, `RecordingError` where it cannot be
    written.
    """
    if settings.collector_mode is Mode.REPLAY:
        raise SettingError("COLLECTOR_MODE=replay: there is no venue to capture; set live or simulated")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SettingError(f"capture {folder}: is not empty; give another --out")
        made = _Capture(settings, folder, wanted, say, rng or Random(), clock or Clock(), timing, on_segment)
        return await made.run(stop, progress)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise RecordingError(f"capture {folder}: cannot be written: {reason}; what was written stays") from exc


class _Capture:
    def __init__(
        self,
        settings: Settings,
        folder: Path,
        wanted: Wanted,
        say: Callable[[str], None],
        rng: Random,
        clock: Clock,
        timing: Timing | None,
        on_segment: Callable[[Segment], None],
    ) -> None:
        self._settings, self._folder, self._wanted, self._say = settings, folder, wanted, say
        self._clock, self._rng = clock, rng
        self._timing = timing or Timing.of(settings)
        self._tape, self._probes = Tape(folder / FRAMES), Tape(folder / PROBES)
        self._intake = Intake(0, clock, recorder=self._tape)
        self._census = Census()
        self._pipeline = Pipeline(
            adapters(use_yes_price=True), on_segment, describing=describing(wanted.venues)
        )  # fmt: skip
        self._prober = Prober(self._probes, clock, say)
        self._answers: dict[str, Answers] = {}
        self._https: dict[str, Http] = {}
        self._pages: list[dict[str, Any]] = []
        self._asked: dict[str, int] = {}
        connects = Limiter(
            self._timing.connects_a_minute / 60,
            burst=self._timing.connects_a_minute,
            gap=self._timing.connect_gap,
            clock=clock,
        )
        self._link = Link(self._intake, clock, self._timing, rng, connects, say, Chorus(say))

    async def run(self, stop: asyncio.Event, progress: Callable[[float, int], None]) -> dict[str, Any]:
        """Until the time is over."""
        began, started = self._clock.monotonic(), self._clock.wall()
        writing = [asyncio.create_task(work) for work in (self._tape.run(), self._probes.run(), self._consume())]
        feeding = [asyncio.create_task(self._kept(venue)) for venue in self._wanted.venues]
        try:
            while (seconds := self._clock.monotonic() - began) < self._wanted.seconds and not stop.is_set():
                progress(seconds, self._frames)
                if any(task.done() for task in (*writing, *feeding)):
                    break
                await asyncio.sleep(STEP)
        finally:
            await _cancel(feeding)
            await _cancel(writing)
            self._take_all()
            self._pipeline.finish(self._clock.wall())
            self._tape.close()
            self._probes.close()
            for http in self._https.values():
                await http.close()
        for task in (*writing, *feeding):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        report = self._report(started, self._clock.monotonic() - began)
        (self._folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=True) + "\n")
        return report

    @property
    def _frames(self) -> int:
        return self._pipeline.counts.frames

    async def _consume(self) -> None:
        while True:
            self._take_all(SLICE)
            await asyncio.sleep(0 if len(self._intake) else LOOK)

    def _take_all(self, most: int | None = None) -> None:
        done = 0
        while (most is None or done < most) and (item := self._intake.take()) is not None:
            self._pipeline.take(item)
            self._census.take(item)
            done += 1

    # --- a venue ---------------------------------------------------------------------------------

    async def _kept(self, venue: Venue) -> None:
        """A venue; what nobody foresaw is said, and does not stop the other one."""
        try:
            await self._venue(venue)
        except Exception as exc:
            LOG.exception("capture of %s failed", venue.value)
            self._say(f"{venue.value}: failed ({type(exc).__name__}); the rest goes on")
            await asyncio.Event().wait()

    async def _venue(self, venue: Venue) -> None:
        """Its catalogue's first pages, then sockets, polls where there is no socket, and probes."""
        chosen = await self._choose(venue)
        connections = self._connections(venue, chosen)
        for connection in connections:
            self._intake.asked(connection.name, connection.speaker.markets)
            outcomes = 2 if venue is Venue.POLYMARKET else 1
            self._asked[connection.name] = connection.speaker.markets * outcomes
        plural = "" if len(connections) == 1 else "s"
        self._say(f"{venue.value}: {len(chosen):,} markets on {len(connections)} connection{plural}")
        async with asyncio.TaskGroup() as tasks:
            for connection in connections:
                tasks.create_task(connection.run())
            if chosen and not connections:
                tasks.create_task(self._poll(venue, chosen))
            probes = polymarket(chosen) if venue is Venue.POLYMARKET else kalshi(chosen, self._clock.wall())
            for host, asked in probes.items():
                tasks.create_task(self._prober.run(venue, self._http(host), asked))

    async def _choose(self, venue: Venue) -> list[Listed]:
        """The markets to follow, of as many pages as it takes; a venue that does not answer is asked again."""
        http, failures = self._http("gamma" if venue is Venue.POLYMARKET else "kalshi"), 0
        ids = {name.removeprefix(f"{venue.value}:") for name in self._wanted.ids}
        while True:
            try:
                async for wire, path, page in first_pages(http, venue, ids, partial(self._is_enough, venue)):
                    self._intake.frame(catalog_name(venue), wire, page)
                    self._pages.append({"venue": venue.value, "path": path, "bytes": len(page)})
                await self._intake.consumed()
                return self._chosen(venue)
            except VenueError as exc:
                failures += 1
                if is_worth_a_word(failures):
                    self._say(f"{venue.value}: catalogue: {exc}; trying again")
                await asyncio.sleep(self._timing.delay(failures, self._rng))

    def _chosen(self, venue: Venue) -> list[Listed]:
        named = self._pipeline.markets.starting(f"{venue.value}:")
        found, ids = listed(named, self._pipeline.stats, venue), self._wanted.ids
        if not ids:
            return Rule(self._wanted.top, frozenset()).choose(found, venue)[: self._wanted.top]
        return [one for one in found if not ids.isdisjoint((one.native_id, f"{venue.value}:{one.native_id}"))]

    async def _is_enough(self, venue: Venue) -> bool:
        await self._intake.consumed()
        return bool(self._wanted.ids) or len(self._chosen(venue)) >= self._wanted.top

    def _connections(self, venue: Venue, markets: list[Listed]) -> list[Connection]:
        """As the collector opens them."""
        addresses = self._settings.addresses
        if not markets:
            return []
        if venue is Venue.POLYMARKET:
            if not self._settings.polymarket_use_wss:
                return []
            tokens = self._settings.wss_tokens_per_connection
            count = -(-len(markets) // (tokens // 2))
            shards = []
            for number in range(count):
                dealt = {one.market: one for one in markets[number::count]}
                channel = MarketChannel(addresses.polymarket_wss_url, dealt, tokens)
                shards.append(Connection(f"{venue.value}-{number + 1}", Wire.POLYMARKET_SOCKET, channel, self._link))
            return shards
        if not self._has_key():
            self._say("kalshi: no key in KALSHI_API_KEY and KALSHI_API_SECRET: no stream, polls and probes only")
            return []
        named = {one.market: one for one in markets}
        speaker = TradeApi(addresses.kalshi_wss_url, self._key, self._clock, named)
        return [Connection(f"{venue.value}-1", Wire.KALSHI_SOCKET, speaker, self._link)]

    def _key(self) -> Key | None:
        return key_of(self._settings)

    def _has_key(self) -> bool:
        try:
            return self._key() is not None or self._settings.collector_mode is Mode.SIMULATED
        except SettingError:
            return True  # the connection says what is wrong with it

    async def _poll(self, venue: Venue, markets: list[Listed]) -> None:
        """What the collector polls where it has no socket."""
        while True:
            for wire, http, path, params, body in self._polls(venue, markets):
                try:
                    page = await (http.post(path, body) if body else http.get(path, params))
                except VenueError as exc:
                    self._say(f"{venue.value}: poll: {exc}")
                    break
                await self._intake.room()
                self._intake.frame(poll_name(venue), wire, page)
            await asyncio.sleep(self._timing.poll_every)

    def _polls(self, venue: Venue, markets: list[Listed]) -> Iterable[tuple[Wire, Http, str, dict[str, Any], bytes]]:
        if venue is Venue.POLYMARKET:
            for batch in batched((one.tokens[0] for one in markets), BOOKS):
                body = json.dumps([{"token_id": token} for token in batch]).encode()
                yield Wire.CLOB_BOOKS, self._http("clob"), "/books", {}, body
            return
        for batch in batched((one.native_id for one in markets), POLLED):
            params = {"tickers": ",".join(batch), "limit": POLLED}
            yield Wire.KALSHI_REST, self._http("kalshi"), "/markets", params, b""

    def _http(self, host: str) -> Http:
        """The client of a host, made when it is needed; its answers are noted."""
        if host not in self._https:
            addresses = self._settings.addresses
            base, rate = {
                "gamma": (addresses.polymarket_gamma_url, catalog.GAMMA_RATE),
                "clob": (addresses.polymarket_clob_url, CLOB_RATE),
                "data": (addresses.polymarket_data_url, DATA_RATE),
                "kalshi": (addresses.kalshi_api_url, catalog.KALSHI_RATE),
            }[host]
            http = self._https[host] = Http(
                base, rate=rate, rng=self._rng, timing=self._timing, clock=self._clock
            )  # fmt: skip
            answers = self._answers[host] = Answers(self._clock)
            http.tell(answers.note)
        return self._https[host]

    # --- the report ------------------------------------------------------------------------------

    def _report(self, started: int, seconds: float) -> dict[str, Any]:
        counts, (unknown, unread) = self._pipeline.counts, self._census.strangers()
        stamp = from_us(started)
        return {
            "mode": self._settings.collector_mode.value,
            "start_time": stamp.isoformat(),
            "seconds": round(seconds, 1),
            "markets": {venue.value: len(self._chosen(venue)) for venue in self._wanted.venues},
            "bytes_on_disk": self._tape.written + self._probes.written,
            "messages": {outcome.value: n for outcome, n in counts.outcomes.items()},
            "dead": {safe_text(reason, 160): n for reason, n in counts.dead.items()},
            "rows": dict(counts.rows),
            "connections": self._census.connections(seconds, self._asked),
            "sequences": self._census.holes(),
            "unknown": unknown,
            "unread": unread,
            "ids": dict(sorted(self._census.ids.items())),
            "catalogue": self._pages,
            "described": len(self._pipeline.markets),
            "rest": [row for host, answers in self._answers.items() for row in answers.rows(host)],
            "clock_offset_ms": {host: answers.offset_ms for host, answers in self._answers.items()},
            "venue_time": self._venue_time(),
            "questions": [
                {"venue": one.venue.value, "question": one.question, "seen": one.seen}
                for one in answered(self._census, self._prober.last, self._asked)
                if one.venue in self._wanted.venues
            ],
        }

    def _venue_time(self) -> dict[str, Any]:
        """Polymarket's own word of the time, in seconds, beside ours when it came; nothing where it was not asked."""
        seen = self._prober.last.get((Venue.POLYMARKET, "time"))
        if seen is None or not isinstance(seen.value, int | float):
            return {}
        return {"polymarket_s": seen.value, "ours_s": round(self._clock.wall() / SECOND_US, 3)}


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

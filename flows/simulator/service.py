"""`movers simulate`: both venues over one world, on loopback, driven by one clock.

Simulated time begins at `start` and goes on as fast as real time. What is told does not depend on the steps of the
clock, so the same seed and start give the same messages.
"""

import asyncio
import errno
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from flows.simulator.activity import CROWDED
from flows.simulator.base import World
from flows.simulator.faults import Fault, FaultSpec
from flows.simulator.kalshi import KalshiServer
from flows.simulator.kalshi_socket import PING_EVERY
from flows.simulator.keys import Key, Verifier, make
from flows.simulator.labels_file import LabelsFile
from flows.simulator.polymarket import PolymarketServer
from flows.simulator.polymarket_socket import CEILING, PING_WITHIN
from flows.simulator.stream import QUEUE_BYTES, Driver, Tally
from flows.simulator.truth import Truth
from flows.simulator.truth_file import TruthFile
from flows.simulator.world import SimulatedWorld
from lake.clock import DAY_US, HOUR_US, from_us, to_us
from lake.errors import SettingError
from lake.settings import Settings
from lake.vocab import Venue

HOST: Final = "127.0.0.1"
STEP: Final = 0.05  # seconds of real time between two looks at the world
LONGEST_STEP_US: Final = 500_000  # of simulated time told at once, so that a slow machine still answers


class Simulation:
    """Both venues, and the clock that a test may move by hand."""

    def __init__(
        self,
        world: World,
        start: int,
        key: Key,
        *,
        wall: Callable[[], float] = time.time,
        queue_bytes: int = QUEUE_BYTES,
        ping_within: float = PING_WITHIN,
        ping_every: float = PING_EVERY,
        ceiling: int = CEILING,
        seed: int = 0,
        note: Callable[[dict[str, Any]], None] = lambda line: None,
    ) -> None:
        """`seed` is that of the faults' chance; `note` takes every line of the truth as it comes."""
        self.truth = Truth(world, start, note)
        tallies = {venue: Tally(queue_bytes, self.truth.watched[venue]) for venue in Venue}
        self.polymarket = PolymarketServer(
            world, start, tallies[Venue.POLYMARKET], ping_within=ping_within, ceiling=ceiling, seed=seed, wall=wall
        )
        self.kalshi = KalshiServer(
            world, start, tallies[Venue.KALSHI], Verifier(key, wall), ping_every=ping_every, seed=seed, wall=wall
        )
        self._faults = {Venue.POLYMARKET: self.polymarket.faults, Venue.KALSHI: self.kalshi.faults}
        for faults in self._faults.values():
            faults.noted = self.truth.fault
        self._driver = Driver(world, start, {Venue.POLYMARKET: self.polymarket, Venue.KALSHI: self.kalshi})

    @property
    def at(self) -> int:
        """The simulated time up to which everything was told, microseconds."""
        return self._driver.at

    def advance(self, now: int) -> None:
        """Tell everything up to `now`."""
        self._driver.advance(now)
        for watched in self.truth.watched.values():
            watched.at = now

    def fault(self, venue: Venue, kind: str, **said: Any) -> Fault:
        """Begin a fault now: `said` are fields of `faults.FaultSpec`. Raises `BadFault`."""
        return self._faults[venue].start(FaultSpec(kind=kind, **said))

    def mend(self, venue: Venue | None = None, number: int | None = None) -> None:
        """End that fault, or all of a venue or of both. Raises `BadFault`."""
        for each in (venue,) if venue else Venue:
            self._faults[each].end(number)

    @asynccontextmanager
    async def serving(self, polymarket_port: int = 0, kalshi_port: int = 0) -> AsyncIterator[tuple[int, int]]:
        """Serve both on loopback; the ports, chosen free where 0 is given. Raises `SettingError` on a busy one."""
        runners = [
            web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handle_signals=False) for app in self._apps()
        ]
        try:
            ports = []
            for runner, port, venue in zip(runners, (polymarket_port, kalshi_port), Venue, strict=True):
                await runner.setup()
                ports.append(await _bind(runner, port, f"SIMULATOR_{venue.value.upper()}_PORT"))
            yield ports[0], ports[1]
        finally:
            for runner in runners:
                await runner.cleanup()

    def _apps(self) -> tuple[web.Application, web.Application]:
        return self.polymarket.application(), self.kalshi.application()


async def simulate(
    settings: Settings,
    stop: asyncio.Event,
    *,
    start: datetime | None = None,
    say: Callable[[str], None],
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Run both venues until `stop`; `start` None begins at the wall clock's time. Raises `SettingError`."""
    begin, since = round(wall() * 1_000_000) if start is None else to_us(start), monotonic()
    world = SimulatedWorld(settings.simulator_seed, settings.simulator_markets, settings.simulator_rate)
    key = make(settings.simulator_dir)
    truth = TruthFile(Path(settings.simulator_dir), settings.simulator_seed)
    simulation = Simulation(
        world,
        begin,
        key,
        wall=wall,
        ceiling=settings.simulator_token_ceiling,
        seed=settings.simulator_seed,
        note=truth.note,
    )
    gc.collect()
    gc.freeze()  # what is known of hundreds of thousands of markets need not be looked through again and again
    truth.begin(begin, settings.simulator_markets, settings.simulator_rate)
    labels = LabelsFile(Path(settings.simulator_dir), settings.simulator_seed)
    labels.begin(world, begin, DAY_US if settings.simulator_markets <= CROWDED else HOUR_US)
    async with simulation.serving(settings.simulator_polymarket_port, settings.simulator_kalshi_port) as ports:
        for venue, port in zip(Venue, ports, strict=True):
            markets = len(world.markets(venue, begin))
            say(
                f"simulated {venue.value}: {markets:,} markets on http://{HOST}:{port}, from {from_us(begin):%F %T} UTC"
            )
        while not stop.is_set():
            await _catch_up(simulation, begin + round((monotonic() - since) * 1_000_000))
            labels.append(world, simulation.at, say)
            truth.flush(say)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), STEP)
    say("simulated venues: stopped")


async def _catch_up(simulation: Simulation, now: int) -> None:
    while simulation.at < now:
        simulation.advance(min(now, simulation.at + LONGEST_STEP_US))
        await asyncio.sleep(0)


async def _bind(runner: web.AppRunner, port: int, name: str) -> int:
    site = web.TCPSite(runner, HOST, port)
    try:
        await site.start()
    except OSError as exc:
        if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use" if exc.errno == errno.EADDRINUSE else "may not be used"
        raise SettingError(
            f"{name}={port}: the port {why}; end what listens there or set {name} to a free one"
        ) from None
    address: tuple[str, int] = runner.addresses[0]
    return address[1]

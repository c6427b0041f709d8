"""When the live collector does what: its clocks, its pauses, its limits. Tests pass their own."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Self

from lake.clock import SECOND_US
from lake.settings import Settings
from lake.vocab import Mode

MINUTE: Final = 60.0


def _wall() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is: microseconds since the epoch, and seconds of a clock that nobody sets."""

    wall: Callable[[], int] = _wall
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Timing:
    """Pauses and limits, in seconds unless said otherwise."""

    first_delay: float = 0.5  # the first back-off step
    longest_delay: float = 60
    refused_delay: float = 300  # after an answer that will not change: a bad key
    ping_every: float = 10
    pong_within: float = 25  # a connection without any frame, heartbeats included, is dead
    silent_busy: float = 13  # a connection of `busy_markets` or more without data: found within 15
    silent_any: float = 120
    busy_markets: int = 50
    connects_a_minute: int = 30
    connect_gap: float = 0.1  # between two handshakes
    open_timeout: float = 10
    close_timeout: float = 1
    full_within: float = 5  # a connection whose frames cannot be taken in for so long is given up
    tick: float = 0.25
    poll_every: float = 30
    figures_every: float = 60
    catalog_every: float = 60  # between two readings of what changed in a catalogue
    walk_every: float = 3_600  # between two of all of it
    walk_every_untrusted: float = 900  # where changes cannot be asked for
    catalog_fresh: float = 86_400  # what the lake knows of a catalogue that was read so long ago is followed at once
    follow_after: float = 5  # a first walk takes longer than this: what it has found is followed meanwhile
    choose_every: float = 900  # which markets are the most traded is looked at again
    sweep_every: float = 300  # each followed market, and each that is over without a result, is asked for by name
    failures_before_polling: int = 10
    segment_least: float = 5
    segment_most: float = 60
    audit_every: float = 20  # between two rounds of holding streams against REST
    reconcile_every: float = 30  # between two looks at what is asked for and not told of
    rotate_every: float = 600  # a connection is replaced before it is so old
    hand_over_within: float = 60  # a successor has so long to take over
    unsubscribe_after: float = 60  # a resolved market's last words are still heard
    drain_within: float = 8

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say; simulated venues start with us, so they are asked again soon and often."""
        is_simulated = settings.collector_mode is Mode.SIMULATED
        return cls(
            first_delay=settings.wss_reconnect_delay,
            longest_delay=5 if is_simulated else 60,
            connects_a_minute=600 if is_simulated else 30,
            silent_any=settings.wss_watchdog_timeout,
            poll_every=settings.collector_interval_seconds,
            failures_before_polling=settings.wss_max_reconnect_attempts,
        )

    def delay(self, failures: int, rng: Random) -> float:
        """Full jitter: anything up to the step, which doubles from `first_delay` to `longest_delay`."""
        step = min(self.longest_delay, self.first_delay * 2 ** min(failures - 1, 30))
        return rng.uniform(0, step)

    def refused(self, rng: Random) -> float:
        """Around `refused_delay`, so that many do not ask again at once."""
        return self.refused_delay * rng.uniform(0.5, 1.5)

    def segment(self, age_us: int) -> int:
        """How long a segment may get, in microseconds: a young collector's are short, so its first rows come soon."""
        longest = min(max(age_us / SECOND_US / 5, self.segment_least), self.segment_most)
        return round(longest * SECOND_US)


class Limiter:
    """At most so many a second, evenly spaced once `burst` were taken at once."""

    def __init__(self, rate: float, *, burst: int = 1, gap: float = 0.0, clock: Clock | None = None) -> None:
        self._pause = 1 / rate
        self._burst = burst
        self._gap = gap
        self._clock = clock or Clock()
        self._free = float("-inf")  # when the next one is free, if none was saved
        self._last = float("-inf")

    async def turn(self) -> None:
        """Wait until it is one's turn."""
        now = self._clock.monotonic()
        free = max(self._free, now - self._pause * (self._burst - 1))
        self._last = at = max(now, free, self._last + self._gap)
        self._free = free + self._pause
        if at > now:
            await asyncio.sleep(at - now)


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait that long, or until `stop`; whether it was stopped."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True

"""Pauses and limits, on a clock that is passed in."""

import asyncio
from random import Random

import pytest

from flows.collector.intake import Intake
from flows.collector.journal import Tick
from flows.collector.timing import Clock, Limiter, Timing, pause
from flows.venues.base import Closed, Frame, Opened, Wire
from lake.clock import SECOND_US
from lake.settings import load
from lake.vocab import Mode


def test_full_jitter():
    """A delay is anything up to a step that doubles from the first to the longest."""
    timing, rng = Timing(first_delay=0.5, longest_delay=60), Random(1)
    for failures, step in ((1, 0.5), (2, 1), (5, 8), (8, 60), (500, 60)):
        delays = [timing.delay(failures, rng) for _ in range(500)]
        assert 0 <= min(delays) < 0.1 * step and 0.9 * step < max(delays) <= step


def test_young_collectors_segments_are_short():
    """A segment may get a fifth of the collector's age, from 5 s to 60 s."""
    timing = Timing()
    assert [timing.segment(age * SECOND_US) / SECOND_US for age in (0, 25, 100, 299, 300, 10**6)] == [
        5, 5, 20, 59.8, 60, 60,
    ]  # fmt: skip


def test_settings_give_the_timing():
    """The settings' pauses are in force; simulated venues are asked again within seconds."""
    given = {"wss_reconnect_delay": 2, "wss_watchdog_timeout": 30, "collector_interval_seconds": 7}
    timing = Timing.of(load(wss_max_reconnect_attempts=4, collector_mode=Mode.LIVE, **given))
    assert (timing.first_delay, timing.silent_any, timing.poll_every, timing.longest_delay) == (2, 30, 7, 60)
    assert timing.failures_before_polling == 4
    assert Timing.of(load()).longest_delay == 5


class Time:
    """A clock that moves by what is slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now)


@pytest.mark.asyncio
async def test_limiter(monkeypatch):
    """A burst at once but for the gap, then evenly, and no more after a rest than a burst."""
    time = Time(monkeypatch)
    limiter = Limiter(0.5, burst=3, gap=0.1, clock=time.clock)
    taken = []
    for _ in range(5):
        await limiter.turn()
        taken.append(round(time.now - 100, 3))
    assert taken == [0, 0.1, 0.2, 2.0, 4.0]
    time.now += 1_000
    start = time.now
    for _ in range(4):
        await limiter.turn()
    assert round(time.now - start, 3) == 2.0


@pytest.mark.asyncio
async def test_pause():
    """A pause ends early once it is stopped."""
    stop = asyncio.Event()
    assert await pause(stop, 0.001) is False
    stop.set()
    assert await pause(stop, 60) is True


# --- intake --------------------------------------------------------------------------------------


def intake(most: int = 100) -> Intake:
    return Intake(3, Clock(wall=lambda: 7, monotonic=lambda: 5.0), most)


def test_order_and_numbers():
    """Items come out as they came in, numbered one after the other in the epoch's range, with both clocks."""
    queue = intake()
    queue.opened("c", Wire.KALSHI_SOCKET)
    queue.frame("c", Wire.KALSHI_SOCKET, b"a")
    queue.tick()
    queue.frame("d", Wire.GAMMA, b"b")
    queue.closed("c")
    first, second, third, fourth, last = (queue.take() for _ in range(5))
    base, steady = 3 << 40, 5_000_000
    assert first == Opened("c", 7, Wire.KALSHI_SOCKET, base, steady)
    assert second == Frame(base + 1, "c", 7, b"a", Wire.KALSHI_SOCKET, steady)
    assert third == Tick(seq=base + 2, received=7, monotonic=steady)
    assert fourth.seq == base + 3 and fourth.wire is Wire.GAMMA
    assert last == Closed("c", 7, seq=base + 4, monotonic=steady)
    assert queue.take() is None


def test_clock_that_is_set():
    """A wall clock that moves apart from the steady one is noticed with the next tick, and by how much."""
    wall, steady = [7_000_000], [5.0]
    queue = Intake(3, Clock(wall=lambda: wall[0], monotonic=lambda: steady[0]))
    assert queue.tick() == 0
    wall[0], steady[0] = 8_000_000, 6.0
    assert queue.tick() == 0
    wall[0], steady[0] = 9_000_000 - 3_600_000_000, 7.0
    assert queue.tick() == -3_600_000_000
    assert queue.tick() == 0


@pytest.mark.asyncio
async def test_receivers_wait_where_it_is_full():
    """At its bound whoever receives waits until something is taken out; nothing is dropped."""
    queue = intake(most=10)
    for _ in range(2):
        queue.frame("c", Wire.GAMMA, b"12345")
    waiting = asyncio.create_task(queue.room())
    await asyncio.sleep(0)
    assert queue.is_full and not waiting.done()
    assert queue.take() is not None
    await asyncio.wait_for(waiting, 1)
    assert not queue.is_full and len(queue) == 1


@pytest.mark.asyncio
async def test_consumed():
    """Whoever waits for what is in now goes on once that was taken, not before."""
    queue = intake()
    queue.frame("c", Wire.GAMMA, b"1")
    waiting = asyncio.create_task(queue.consumed())
    await asyncio.sleep(0)
    queue.frame("c", Wire.GAMMA, b"2")
    queue.take()
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.take()
    await asyncio.wait_for(waiting, 1)

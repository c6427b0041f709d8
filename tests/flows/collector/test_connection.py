"""When a connection counts as dead, and what an error means; on a clock that is passed in."""

import asyncio
from dataclasses import replace
from random import Random

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus, InvalidURI
from websockets.frames import Close
from websockets.http11 import Response

from flows.collector.chorus import Chorus
from flows.collector.connection import Connection, Link
from flows.collector.intake import Intake
from flows.collector.polymarket_session import MarketChannel
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import Listed
from flows.venues.base import Wire

TIMING = Timing(refused_delay=300)


def connection(markets: int = 50, timing: Timing = TIMING) -> Connection:
    speaker = MarketChannel("ws://venue.test", {}, 400)
    speaker.wanted = {number: Listed(number, f"M{number}", ("1", "2"), 0.0, None) for number in range(markets)}
    clock = Clock(wall=lambda: 0, monotonic=lambda: 0.0)
    link = Link(Intake(0, clock), clock, timing, Random(1), Limiter(1, clock=clock), print, lambda name, words: None)
    return Connection("polymarket-1", Wire.POLYMARKET_SOCKET, speaker, link)


def heard(one: Connection, *, opened: float, data: float, now: float) -> str | None:
    """The verdict at `now` on a connection that answered every heartbeat, and had data last at `data`."""
    one._opened, one._data, one._heard = opened, data, now
    return one._silence(now)


@pytest.mark.parametrize(("markets", "limit"), [(50, 13), (200, 13), (49, 120), (1, 120)])
def test_silence(markets, limit):
    """With fifty markets or more fifteen seconds without data are too long, else two minutes; pongs do not count."""
    assert heard(connection(markets), opened=0, data=0, now=limit) is None
    assert heard(connection(markets), opened=0, data=0, now=limit + 1) == f"no data for {limit + 1} s"


def test_quiet_markets_are_given_more_time():
    """Silent again after it was connected anew: twice the time, up to the limit of any; data that flows resets it."""
    one = connection()
    for limit in (13, 26, 52, 104, 120):
        assert heard(one, opened=0, data=1, now=1 + limit) is None
        assert heard(one, opened=0, data=1, now=2 + limit) is not None
    assert heard(one, opened=0, data=121, now=122) is None
    assert heard(one, opened=0, data=121, now=137) is not None


def test_no_heartbeat():
    """A connection that answers no heartbeat is dead, however few its markets are."""
    one = connection(1)
    one._opened = one._data = one._heard = 0
    assert one._silence(25) is None
    assert one._silence(26) == "no heartbeat for 26 s"


def status(code: int, **headers: str) -> InvalidStatus:
    return InvalidStatus(Response(code, "", Headers(**headers)))


def test_errors_that_pass():
    """Most errors have the usual back-off; `Retry-After` is honoured."""
    one = connection()
    assert one._loss(status(503)) == ("status 503", None, False)
    reason, wait, is_refused = one._loss(status(429, **{"Retry-After": "7"}))
    assert reason == "status 429" and 7 <= wait <= 8 and not is_refused
    assert one._loss(ConnectionRefusedError(111, "Connection refused")).reason == "the venue refuses the connection"
    assert one._loss(TimeoutError()).reason == "no answer in time"
    closed = ConnectionClosedError(Close(1011, "a \x1b[31mred\u202e reason" + "x" * 500), None)
    assert one._loss(closed).wait is None
    assert "\x1b" not in one._loss(closed).reason and len(one._loss(closed).reason) < 130


@pytest.mark.parametrize(
    "error", [status(401), status(403), InvalidURI("x", "no"), ConnectionClosedError(Close(1008, "policy"), None)]
)
def test_refusals_are_asked_again_slowly(error):
    """A refusal waits minutes, with jitter, and its markets are polled meanwhile."""
    losses = [connection()._loss(error) for _ in range(3)]
    assert all(loss.is_refused and 150 <= loss.wait <= 450 for loss in losses)


@pytest.mark.asyncio
async def test_many_say_one_thing():
    """What a venue's connections say at once is one line; a single one is named."""
    lines: list[str] = []
    chorus = Chorus(lines.append, wait=0)
    for number in range(8):
        chorus(f"polymarket-{number}", "lost")
    chorus("kalshi-1", "lost")
    chorus("polymarket-3", "connected again")
    await asyncio.sleep(0.01)
    assert lines == ["polymarket: 8 connections: lost", "kalshi-1: lost", "polymarket-3: connected again"]


def test_polled_after_many_failures():
    """After so many failures in a row its markets are polled beside the retries."""
    one = connection(timing=replace(TIMING, failures_before_polling=3))
    one.failures = 2
    assert not one.is_down
    one.failures = 3
    assert one.is_down

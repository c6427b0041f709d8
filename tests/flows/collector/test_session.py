"""What is added to a venue's subscriptions and what leaves them, without a socket."""

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flows.collector import session
from flows.collector.connection import Link
from flows.collector.http import Http
from flows.collector.intake import Intake
from flows.collector.journal import Dropped
from flows.collector.kalshi_session import CHANNELS, KalshiSession, TradeApi
from flows.collector.places import PlaceFile
from flows.collector.polymarket_session import MarketChannel
from flows.collector.session import Common
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import Listed, Rule
from lake.vocab import MarketStatus, Venue

CLOCK = Clock(wall=lambda: 0, monotonic=lambda: 0.0)


def one(number: int) -> Listed:
    return Listed(number, f"KX{number}", (), 0.0, None)


class Api:
    """Kalshi's part of a conversation, and what was sent."""

    def __init__(self, *wanted: int) -> None:
        self.speaker = TradeApi("ws://venue.test", lambda: None, CLOCK, {})
        self.speaker.wanted = {number: one(number) for number in wanted}
        self.sent: list[Any] = []

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def heard(self, **said: Any) -> list[Any]:
        return [json.loads(text) for text in self.speaker.heard(json.dumps(said).encode())]


def subscribed(channel: str, sid: int) -> dict[str, Any]:
    return {"type": "subscribed", "msg": {"channel": channel, "sid": sid}}


@pytest.mark.asyncio
async def test_market_that_is_added_before_the_venue_answers():
    """It is asked for on each channel as soon as that channel has an id; one that left meanwhile is not."""
    api = Api(1)
    await api.speaker.hello(api.send)
    await api.speaker.add(api.send, [one(2), one(3)])
    await api.speaker.drop(api.send, [one(3)])
    assert len(api.sent) == 2
    for sid, channel in enumerate(CHANNELS, 1):
        asked = [each["params"] for each in api.heard(**subscribed(channel, sid))]
        assert [(each["sids"], each["action"], each["market_tickers"]) for each in asked] == [
            ([sid], "add_markets", ["KX2"])
        ]
    assert api.heard(**subscribed(CHANNELS[0], 1)) == []
    await api.speaker.add(api.send, [one(4)])
    assert [each["params"]["sids"] for each in api.sent[2:]] == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("frame", "is_data"),
    [
        ({"type": "orderbook_delta", "sid": 1, "seq": 2, "msg": {"market_ticker": "KX1"}}, True),
        (subscribed("trade", 2), False),
        ({"type": "ok", "sid": 1, "seq": 3, "msg": {"market_tickers": ["KX1"]}}, False),
        ({"type": "error", "id": 1, "msg": {"code": 16, "market_ticker": "KX1"}}, False),
        ({"type": "unsubscribed", "sid": 1, "seq": 4}, False),
    ],
)
def test_what_is_data_on_kalshi(frame, is_data):
    """What tells of a market; no acknowledgement, and no refusal."""
    assert Api().speaker.is_data(json.dumps(frame).encode()) is is_data


@pytest.mark.parametrize(
    ("frame", "is_data"),
    [(b"PONG", False), (b"INVALID OPERATION", False), (b"[]", False), (b"", False), (b"[{}]", True), (b"{}", True)],
)
def test_what_is_data_on_polymarket(frame, is_data):
    """Messages; no heartbeat, no word of refusal, no empty list."""
    assert MarketChannel("ws://venue.test", {}, 400).is_data(frame) is is_data


class Pipe:
    """What a session asks of a pipeline."""

    def __init__(self) -> None:
        self.markets: dict[int, dict[str, Any]] = {}
        self.stats: dict[int, Any] = {}


def polled(rule: Rule, pipe: Pipe) -> KalshiSession:
    """A session without a socket."""
    link = Link(Intake(0, CLOCK), CLOCK, Timing(unsubscribe_after=0), Random(1), Limiter(1), print, lambda *_: None)
    http = Http("http://127.0.0.1:1", rate=1, rng=Random(1), timing=Timing())
    return KalshiSession(Common(link, pipe, rule, http, http, PlaceFile(Path(), "main", Venue.KALSHI)), "", None)


def test_newcomers_take_the_place_of_those_that_left():
    """Of top:N a tenth more may come, and as many as leave, for as long as it runs."""
    pipe = Pipe()
    venue = polled(Rule(20, frozenset()), pipe)
    venue.followed = {number: one(number) for number in range(20)}
    for day in range(1, 6):
        for market in list(venue.followed)[:10]:
            del venue.followed[market]
        for number in range(100 * day, 100 * day + 15):
            pipe.markets[number] = {"market_id": f"kalshi:KX{number}", "status": "active"}
            venue.market_changed(number, {"status": MarketStatus.ACTIVE})
        venue.followed |= {each.market: each for each in venue._arrived()}
        assert len(venue.followed) == 22


@pytest.mark.asyncio
async def test_market_that_is_gone_when_it_is_dropped(monkeypatch):
    """A market that is followed no longer, as after a failure of the session, stops nobody's housekeeping."""
    monkeypatch.setattr(session, "HOUSEKEEPING", 0)
    pipe = Pipe()
    venue = polled(Rule(None, frozenset()), pipe)
    venue.followed = {1: one(1), 2: one(2)}
    for market in (1, 2):
        venue.market_changed(market, {"status": MarketStatus.RESOLVED})
    del venue.followed[1]
    keeping = asyncio.create_task(venue._keep_house())
    async with asyncio.timeout(5):
        while not len(venue._link.intake) and not keeping.done():
            await asyncio.sleep(0)
    keeping.cancel()
    told = venue._link.intake.take()
    assert isinstance(told, Dropped) and told.markets == [2] and venue.followed == {} and venue._leaving == {}

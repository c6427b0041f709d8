"""Clients of simulated venues that misbehave, and what they hear."""

import json

from flows.venues.base import Wire
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.vocab import Venue
from tests.flows.simulator.conftest import Venues, until_ok, until_pong
from tests.flows.simulator.reading import Reader

POLY, KALSHI = Venue.POLYMARKET, Venue.KALSHI


def subscribe(venues: Venues, venue: Venue, count: int = 4) -> str:
    """The command that asks for the first markets of a venue."""
    markets = [each for each in venues.world.all if each.venue is venue][:count]
    if venue is POLY:
        tokens = [token for market in markets for token in market.tokens]
        return json.dumps({"type": "market", "assets_ids": tokens, "custom_feature_enabled": True})
    channels = ["orderbook_delta", "trade", "market_lifecycle_v2"]
    tickers = [market.native_id for market in markets]
    return json.dumps({"id": 1, "cmd": "subscribe", "params": {"channels": channels, "market_tickers": tickers}})


def opened(venues: Venues, venue: Venue):
    return venues.polymarket(max_size=None) if venue is POLY else venues.kalshi(max_size=None)


async def heard(socket, venue: Venue) -> list[bytes]:
    """All that was sent, without heartbeats and answers to commands."""
    found = await (until_pong(socket) if venue is POLY else until_ok(socket))
    return [frame for frame in found if b'"subscribed"' not in frame]


async def stream(venues: Venues, venue: Venue, seconds: float = 20, kind: str = "", **said) -> list[bytes]:
    """What a client hears in so much simulated time, under a fault that begins after it has subscribed."""
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        await heard(socket, venue)
        if kind:
            venues.simulation.fault(venue, kind, **said)
        venues.run(seconds)
        return await heard(socket, venue)


def read(venue: Venue, frames: list[bytes]) -> Reader:
    reader = Reader(Polymarket() if venue is POLY else Kalshi(), Wire.POLYMARKET_SOCKET)
    reader._wire = Wire.POLYMARKET_SOCKET if venue is POLY else Wire.KALSHI_SOCKET
    return reader.read(frames)

"""The two universes that the lake's encodings are measured on: recorded Kalshi sessions, and the simulated venues.

Both go through the collector's own parsers and books. The simulated venues are driven here without sockets, faster than
the clock: they are asked every 50 ms of their time, as `movers simulate` does, and what they say then is received
one frame after the other, some tens of microseconds apart.
"""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from flows.collector.pipeline import Pipeline
from flows.collector.recordings import find
from flows.collector.replay import replay
from flows.collector.sealing import publish
from flows.simulator.base import Happening
from flows.simulator.kalshi_feed import Feed
from flows.simulator.kalshi_socket import KalshiSocket
from flows.simulator.kalshi_subscriptions import Client as KalshiClient
from flows.simulator.listing import Listing, members
from flows.simulator.polymarket_objects import event
from flows.simulator.polymarket_socket import Client as PolymarketClient
from flows.simulator.polymarket_socket import MarketChannel
from flows.simulator.stream import Connection, Driver, Tally
from flows.simulator.world import SimulatedWorld
from flows.venues.base import Frame, Opened, Wire, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import SECOND_US, to_us
from lake.schema import QUOTES
from lake.store import Store
from lake.vocab import Mode, Venue

START = to_us(datetime(2026, 3, 2, 15, tzinfo=UTC))
STEP_US = 50_000  # of `flows.simulator.service`
SUBSCRIBE_EVERY = 1_200  # steps: markets are listed all the time
CATALOG = "polymarket-catalog"


def recorded(folder: Path, lake: Path) -> Store:
    """A lake with the recorded Kalshi sessions below `folder`."""
    store = Store.create(lake, Mode.REPLAY)
    for path in sorted((folder / "kalshi").glob("ws_btc15m_*")):
        for recording in find(path)[0]:
            replay(recording, store)
    return store


def simulated(lake: Path, seconds: int = 3_600, markets: int = 3_000, rate: float = 500.0, seed: int = 7) -> Store:
    """A lake with so many seconds of the simulated venues; the defaults are those of the settings."""
    store = Store.create(lake, Mode.SIMULATED)
    venues = Offline(SimulatedWorld(seed, markets, rate), np.random.default_rng(seed))
    pipeline = Pipeline(
        {Venue.POLYMARKET: Polymarket(), Venue.KALSHI: Kalshi(use_yes_price=True)},
        lambda segment: publish(store, segment, "main"),
        describing=[CATALOG],
    )
    for wire in (Wire.POLYMARKET_SOCKET, Wire.KALSHI_SOCKET):
        pipeline.opened(Opened(wire.venue.value, START, wire))
    for _ in range(seconds * SECOND_US // STEP_US):
        for frame in venues.step():
            pipeline.feed(frame)
    pipeline.finish(venues.at)
    return store


def quotes(store: Store) -> pl.DataFrame:
    """All quotes of a lake, in the order of a compacted file."""
    return store.scan(QUOTES).select(*QUOTES.columns).sort(*QUOTES.order).collect()


class Offline:
    """Both simulated venues without sockets: every step returns the frames of the next 50 ms."""

    def __init__(self, world: SimulatedWorld, rng: np.random.Generator) -> None:
        self._rng = rng
        self._told: list[tuple[str, Wire, bytes]] = []
        self._numbers = self._steps = 0
        self._received = START
        self._polymarket, self._kalshi = (Listing(world, venue, START) for venue in Venue)
        self._channel = MarketChannel(self._polymarket, Tally(), 1e9)
        self._feed = Feed(self._kalshi, Tally())
        self._socket = KalshiSocket(self._kalshi, self._feed, Tally(), None, 1e9)  # type: ignore[arg-type]
        self._poly_client: Any = PolymarketClient(Tap(self._told, Wire.POLYMARKET_SOCKET))
        self._kalshi_client: Any = KalshiClient(Tap(self._told, Wire.KALSHI_SOCKET))
        self._channel._clients.add(self._poly_client)
        self._asked: set[str] = set()
        self._driver = Driver(world, START, {Venue.POLYMARKET: Follow(self._channel, self._polymarket),
                                             Venue.KALSHI: Follow(self._feed, self._kalshi)})  # fmt: skip

    @property
    def at(self) -> int:
        return self._received

    def step(self) -> list[Frame]:
        if self._steps % SUBSCRIBE_EVERY == 0:
            self._subscribe()
        self._steps += 1
        now = self._driver.at + STEP_US
        self._driver.advance(now)
        self._received = max(self._received, now + int(self._rng.integers(200, 2_000)))
        frames = []
        for connection, wire, payload in self._told:
            self._received += int(self._rng.integers(15, 80))
            frames.append(Frame(frame_seq(0, self._numbers), connection, self._received, payload, wire))
            self._numbers += 1
        self._told.clear()
        return frames

    def _subscribe(self) -> None:
        """To all markets that are not subscribed yet, after their catalogue."""
        new = [market for market in self._polymarket.living() if market.native_id not in self._asked]
        for found, those in members(new).values():
            page = msgspec.json.encode([event(self._polymarket, found, those)])
            self._told.append((CATALOG, Wire.GAMMA, page))
        tokens = [token for market in new for token in market.tokens]
        said = {"type": "market", "assets_ids": tokens, "custom_feature_enabled": True}
        self._channel.command(self._poly_client, msgspec.json.encode(said).decode())
        others = [market for market in self._kalshi.living() if market.native_id not in self._asked]
        tickers = [market.native_id for market in others]
        flags = {"use_yes_price": True, "send_initial_snapshot": True, "skip_ticker_ack": True}
        params = {"channels": ["orderbook_delta", "trade", "ticker"], "market_tickers": tickers, **flags}
        if tickers:
            said = {"id": self._steps + 1, "cmd": "subscribe", "params": params}
            self._socket.command(self._kalshi_client, msgspec.json.encode(said).decode())
        self._asked.update(market.native_id for market in (*new, *others))


class Tap(Connection):
    """A connection without a socket: what is sent is kept."""

    def __init__(self, told: list[tuple[str, Wire, bytes]], wire: Wire) -> None:
        super().__init__(0, None, START, 0)  # type: ignore[arg-type]
        self._all, self._wire = told, wire

    def _queue(self, payload: bytes, kind: str, messages: int) -> None:
        self._all.append((self._wire.venue.value, self._wire, payload))


class Follow:
    """A venue's part of the clock: `flows.simulator.stream.Exchange`."""

    def __init__(self, feed: Any, listing: Listing) -> None:
        self._feed, self._listing = feed, listing

    def happen(self, happening: Happening) -> None:
        self._feed.happen(happening)

    def tick(self, at: int) -> None:
        if isinstance(self._feed, Feed):
            self._feed.tick(at)

    def move(self, at: int) -> None:
        self._listing.move(at)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = simulated(Path(folder) / "lake", int(sys.argv[1]))
        frame = quotes(made)
        print(frame, made.scan(QUOTES).group_by("venue").len().collect())
        if len(sys.argv) > 2:
            frame.write_parquet(sys.argv[2])

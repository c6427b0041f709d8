"""The simulated Polymarket: its catalogue, order books, data and market channel on one port, over one `World`."""

import time
from collections.abc import Callable, Sequence

from aiohttp import web

from flows.simulator import fault_routes
from flows.simulator.base import Happening, World
from flows.simulator.fault_kinds import KINDS
from flows.simulator.faults import Faults
from flows.simulator.listing import Listing
from flows.simulator.polymarket_clob import Clob
from flows.simulator.polymarket_data import Data
from flows.simulator.polymarket_gamma import Gamma
from flows.simulator.polymarket_socket import CEILING, PING_WITHIN, MarketChannel
from flows.simulator.rest import get
from flows.simulator.stream import Tally
from lake.vocab import Venue


class PolymarketServer:
    """The venue: `flows.simulator.stream.Exchange`, and an application to serve."""

    def __init__(
        self,
        world: World,
        start: int,
        tally: Tally,
        *,
        ping_within: float = PING_WITHIN,
        ceiling: int = CEILING,
        seed: int = 0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.tally = tally
        self._listing = Listing(world, Venue.POLYMARKET, start)
        self._channel = MarketChannel(self._listing, tally, ping_within, ceiling)
        self.faults = Faults(
            Venue.POLYMARKET,
            KINDS,
            seed,
            start,
            tally,
            wall=wall,
            tokens=self._tokens,
            tell=self._channel.news,
        )
        tally.seam = self.faults

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""
        self.faults.move(happening.time)
        self._channel.happen(happening)

    def tick(self, at: int) -> None:
        """Nothing here goes by the clock but the end of faults."""
        self.faults.move(at)

    def move(self, at: int) -> None:
        """Everything up to `at` was told."""
        self.faults.move(at)
        self._listing.move(at)

    def _tokens(self, market: str) -> Sequence[str]:
        found = self._listing.named(market)
        return () if found is None else found.tokens

    def application(self) -> web.Application:
        """All routes."""
        app = web.Application(middlewares=[self.faults.middleware])
        fault_routes.add_to(app, self.faults)
        app.on_shutdown.append(self.tally.close)
        get(app, "/simulator/report", lambda _: self.tally.report(Venue.POLYMARKET, self._listing.at), self.tally)
        app.router.add_get("/ws/market", self._channel.handle)
        Gamma(self._listing).add_to(app, "/gamma", self.tally)
        Clob(self._listing).add_to(app, "/clob", self.tally)
        Data(self._listing).add_to(app, "/data", self.tally)
        return app

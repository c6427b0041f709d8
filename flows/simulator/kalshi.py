"""The simulated Kalshi: its REST API and its socket on one port, over one `World`."""

import time
from collections.abc import Callable

from aiohttp import web

from flows.simulator import fault_routes
from flows.simulator.base import Happening, World
from flows.simulator.fault_kinds import KINDS
from flows.simulator.faults import Faults
from flows.simulator.kalshi_feed import Feed
from flows.simulator.kalshi_rest import KalshiRest
from flows.simulator.kalshi_socket import PATH, PING_EVERY, KalshiSocket
from flows.simulator.keys import Verifier
from flows.simulator.listing import Listing
from flows.simulator.rest import get
from flows.simulator.stream import Tally
from lake.vocab import Venue


class KalshiServer:
    """The venue: `flows.simulator.stream.Exchange`, and an application to serve."""

    def __init__(
        self,
        world: World,
        start: int,
        tally: Tally,
        verifier: Verifier,
        *,
        ping_every: float = PING_EVERY,
        seed: int = 0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.tally = tally
        self._listing = Listing(world, Venue.KALSHI, start)
        self._rest = KalshiRest(self._listing, verifier)
        self._feed = Feed(self._listing, tally)
        self._socket = KalshiSocket(self._listing, self._feed, tally, verifier, ping_every)
        self.faults = Faults(
            Venue.KALSHI,
            KINDS,
            seed,
            start,
            tally,
            wall=wall,
            terminate=self._socket.terminate,
            tell=self._feed.news,
        )
        tally.seam = self.faults

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""
        self.faults.move(happening.time)
        self._feed.happen(happening)

    def tick(self, at: int) -> None:
        """Tickers go by the clock."""
        self.faults.move(at)
        self._feed.tick(at)

    def move(self, at: int) -> None:
        """Everything up to `at` was told."""
        self.faults.move(at)
        self._listing.move(at)

    def application(self) -> web.Application:
        """All routes."""
        app = web.Application(middlewares=[self.faults.middleware])
        fault_routes.add_to(app, self.faults)
        app.on_shutdown.append(self.tally.close)
        get(app, "/simulator/report", lambda _: self.tally.report(Venue.KALSHI, self._listing.at), self.tally)
        app.router.add_get(PATH, self._socket.handle)
        self._rest.add_to(app, self.tally)
        return app

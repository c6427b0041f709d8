"""The simulated Kalshi: its REST API and its socket on one port, over one `World`."""

from aiohttp import web

from flows.simulator.base import Happening, World
from flows.simulator.kalshi_feed import Feed
from flows.simulator.kalshi_rest import KalshiRest
from flows.simulator.kalshi_socket import PATH, KalshiSocket
from flows.simulator.keys import Verifier
from flows.simulator.listing import Listing
from flows.simulator.rest import get
from flows.simulator.stream import Tally
from lake.vocab import Venue


class KalshiServer:
    """The venue: `flows.simulator.stream.Exchange`, and an application to serve."""

    def __init__(self, world: World, start: int, tally: Tally, verifier: Verifier, ping_every: float) -> None:
        self.tally = tally
        self._listing = Listing(world, Venue.KALSHI, start)
        self._rest = KalshiRest(self._listing, verifier)
        self._feed = Feed(self._listing, tally)
        self._socket = KalshiSocket(self._listing, self._feed, tally, verifier, ping_every)

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""
        self._feed.happen(happening)

    def tick(self, at: int) -> None:
        """Tickers go by the clock."""
        self._feed.tick(at)

    def move(self, at: int) -> None:
        """Everything up to `at` was told."""
        self._listing.move(at)

    def application(self) -> web.Application:
        """All routes."""
        app = web.Application()
        app.on_shutdown.append(self.tally.close)
        get(app, "/simulator/report", lambda _: self.tally.report(Venue.KALSHI, self._listing.at), self.tally)
        app.router.add_get(PATH, self._socket.handle)
        self._rest.add_to(app, self.tally)
        return app

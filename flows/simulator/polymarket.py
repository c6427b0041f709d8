"""The simulated Polymarket: its catalogue, order books, data and market channel on one port, over one `World`."""

from aiohttp import web

from flows.simulator.base import Happening, World
from flows.simulator.listing import Listing
from flows.simulator.polymarket_clob import Clob
from flows.simulator.polymarket_data import Data
from flows.simulator.polymarket_gamma import Gamma
from flows.simulator.polymarket_socket import MarketChannel
from flows.simulator.rest import get
from flows.simulator.stream import Tally
from lake.vocab import Venue


class PolymarketServer:
    """The venue: `flows.simulator.stream.Exchange`, and an application to serve."""

    def __init__(self, world: World, start: int, tally: Tally, ping_within: float) -> None:
        self.tally = tally
        self._listing = Listing(world, Venue.POLYMARKET, start)
        self._channel = MarketChannel(self._listing, tally, ping_within)

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""
        self._channel.happen(happening)

    def tick(self, at: int) -> None:
        """Nothing here goes by the clock."""

    def move(self, at: int) -> None:
        """Everything up to `at` was told."""
        self._listing.move(at)

    def application(self) -> web.Application:
        """All routes."""
        app = web.Application()
        app.on_shutdown.append(self.tally.close)
        get(app, "/simulator/report", lambda _: self.tally.report(Venue.POLYMARKET, self._listing.at), self.tally)
        app.router.add_get("/ws/market", self._channel.handle)
        Gamma(self._listing).add_to(app, "/gamma", self.tally)
        Clob(self._listing).add_to(app, "/clob", self.tally)
        Data(self._listing).add_to(app, "/data", self.tally)
        return app

"""Faults of connections: silence, frozen markets, closes, refusals, lost subscriptions."""

from collections.abc import Sequence
from email.utils import formatdate
from typing import ClassVar

from aiohttp import web

from flows.simulator.faults import Fault, Handler
from flows.simulator.stream import ABORTED, Connection, Said
from flows.simulator.wire import encode
from lake.vocab import Venue


class Silence(Fault):
    """No data on a connection, while heartbeats and commands are still answered."""

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """Nothing; what is withheld is never numbered, so it leaves no hole."""
        return () if self.is_about(body) and self.strikes() else ((kind, body),)


class Freeze(Fault):
    """One market's deltas, trades and tickers are withheld, while its REST moves on. A subscription anew may heal it.

    `share` is that of the connections' new subscriptions of the market that heal it; books on subscribing do come.
    """

    needs_market: ClassVar[bool] = True

    def begin(self) -> None:
        """On every connection that is meant."""
        self._names = {self.spec.market, *self.desk.tokens(self.spec.market)}
        self._healed: set[int] = set()

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """Nothing of the market, without a hole."""
        is_book = kind == "orderbook_snapshot" or body[:1] == b"["
        if is_book or connection.number in self._healed or not self.is_about(body):
            return ((kind, body),)
        self.hit()
        return ()

    def asked(self, connection: Connection, names: list[str]) -> list[str]:
        """A subscription anew: healed, or not."""
        if self._names.intersection(names) and self.chosen("heals", connection.number):
            self._healed.add(connection.number)
        return names


class Close(Fault):
    """The connections are closed with code `value`: 1000, 1001, 1008, 1011, 1013 ..."""

    value = 1011.0

    def begin(self) -> None:
        """At once."""
        for connection in self.desk.alive():
            if self.takes(connection) and self.strikes():
                connection.end(round(self.given))


class Abort(Close):
    """The connections break off without a word: code 1006."""

    value = float(ABORTED)


class AcceptThenClose(Fault):
    """Handshakes are accepted, and closed at once with code `value`."""

    value = 1013.0

    def accepted(self, connection: Connection) -> None:
        """It is over before it began."""
        if self.strikes():
            connection.end(round(self.given))


class Refuse(Fault):
    """Handshakes are refused with status `value`: 403, 429, 503 ... and `Retry-After` if asked for."""

    value = 403.0

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse | None:
        """A page of HTML, as from the venue's front."""
        if not is_handshake(request) or not self.strikes():
            return None
        text = f"<html><head><title>{self.given:.0f}</title></head><body>refused</body></html>"
        headers = retry_after(self)
        return web.Response(text=text, status=round(self.given), headers=headers, content_type="text/html")


class LostSubscribe(Fault):
    """A share of the asked tokens or tickers is neither acknowledged nor served."""

    def asked(self, connection: Connection, names: list[str]) -> list[str]:
        """The rest of them; the same ones are lost each time on a connection."""
        kept = [name for name in names if not self.chosen(connection.number, name)]
        for _ in range(len(names) - len(kept)):
            self.hit()
        return kept


class NoResult(Fault):
    """Results are never told on sockets: `market_resolved`, and `determined` and `settled` of the lifecycle."""

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """Nothing of results."""
        over = (b'"event_type":"determined"', b'"event_type":"settled"')
        is_result = kind == "market_resolved" or (kind == "market_lifecycle_v2" and any(word in body for word in over))
        if not is_result or not self.is_about(body):
            return ((kind, body),)
        self.hit()
        return ()


class Terminate(Fault):
    """Kalshi's terminal errors: subscriptions to books and trades end with error `value`, 10 or 25."""

    value = 25.0
    venues = (Venue.KALSHI,)

    def begin(self) -> None:
        """At once."""
        for connection in self.desk.alive():
            if self.takes(connection) and self.strikes():
                self.desk.terminate(connection, 10 if self.given == 10 else 25, self.spec.market)


class Huge(Fault):
    """One frame of `value` MiB of an unknown kind on each connection, at once."""

    value = 9.0

    def begin(self) -> None:
        """At once."""
        name = "event_type" if self.venue is Venue.POLYMARKET else "type"
        for connection in self.desk.alive():
            if self.takes(connection) and self.strikes():
                connection.put(encode({name: "huge", "padding": "x" * round(self.given * 1024 * 1024)}), "huge")


def is_handshake(request: web.Request) -> bool:
    """Whether it asks for a socket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def retry_after(fault: Fault) -> dict[str, str]:
    """The header that asks for patience: in seconds, or as an HTTP date; none if it was not asked for."""
    wait = fault.spec.retry_after
    if wait is None:
        return {}
    return {"Retry-After": formatdate(fault.desk.wall() + wait, usegmt=True) if fault.spec.is_dated else f"{wait:g}"}

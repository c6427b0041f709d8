"""Who is subscribed to what on Kalshi's socket, and the envelope of what a subscription is told.

A sid counts its messages from 1, the replies to commands that change it included; `ticker` does not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from flows.simulator.stream import Connection
from flows.simulator.wire import encode

BOOK, TICKER, TRADE, LIFE = "orderbook_delta", "ticker", "trade", "market_lifecycle_v2"
CHANNELS: Final = (BOOK, TICKER, TRADE, LIFE)


@dataclass(eq=False)
class Subscription:
    """A channel of a connection: its markets (None = all), and its count of messages."""

    connection: Connection
    channel: str
    sid: int
    markets: dict[str, None] | None
    is_yes_scale: bool = False
    seq: int = 0

    def send(self, kind: str, msg: bytes, command: int | None = None) -> None:
        """A message of the channel, numbered if the channel counts."""
        for told, body in self.connection.told(kind, msg):
            self.connection.put(
                b'{%s"type":"%s","sid":%d,%s"msg":%s}'
                % (
                    b"" if command is None else b'"id":%d,' % command,
                    told.encode(),
                    self.sid,
                    b"" if self.channel == TICKER else b'"seq":%d,' % self._next(),
                    body,
                ),
                told,
            )

    def reply(self, kind: str, command: int | None, msg: Any = None) -> None:
        """An answer to a command that concerns this subscription; it takes a number."""
        body: dict[str, Any] = {} if command is None else {"id": command}
        body |= {"type": kind, "sid": self.sid, "seq": self._next()}
        self.connection.send(encode(body if msg is None else body | {"msg": msg}), kind)

    def _next(self) -> int:
        self.seq += 1
        return self.seq


@dataclass(eq=False)
class Client:
    """A connection and its subscriptions by sid."""

    connection: Connection
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    sids: int = 0

    def of(self, channel: str) -> Subscription | None:
        """Its subscription of a channel."""
        return next((each for each in self.subscriptions.values() if each.channel == channel), None)


class Subscribers:
    """Who wants to hear of a market on one channel."""

    def __init__(self) -> None:
        self._of_all: dict[Subscription, None] = {}
        self._by_market: dict[str, dict[Subscription, None]] = {}

    def of(self, ticker: str) -> list[Subscription]:
        """Those to be told."""
        return [*self._of_all, *self._by_market.get(ticker, ())]

    def add(self, subscription: Subscription, tickers: Iterable[str] | None) -> None:
        """These markets; None = all of them."""
        if tickers is None:
            self._of_all[subscription] = None
        for ticker in tickers or ():
            self._by_market.setdefault(ticker, {})[subscription] = None

    def drop(self, subscription: Subscription, tickers: Iterable[str] | None) -> None:
        """No longer these; None = none at all."""
        if tickers is None:
            self._of_all.pop(subscription, None)
        for ticker in list(subscription.markets or ()) if tickers is None else tickers:
            those = self._by_market.get(ticker, {})
            those.pop(subscription, None)
            if not those:
                self._by_market.pop(ticker, None)

    def forget(self, ticker: str) -> None:
        """A market that is over."""
        for subscription in self._by_market.pop(ticker, ()):
            if subscription.markets is not None:
                subscription.markets.pop(ticker, None)

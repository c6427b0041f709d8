"""Kalshi's socket: the signed handshake and the commands of clients.

A connection has one subscription (sid) a channel; a second subscribe on a channel adds to it. Source: AsyncAPI,
trade-api/ws/v2.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import WSMsgType, web

from flows.simulator.kalshi_commands import Fault, fault_of, markets_of, read, sids_of
from flows.simulator.kalshi_feed import Feed
from flows.simulator.kalshi_subscriptions import BOOK, CHANNELS, LIFE, TRADE, Client, Subscription
from flows.simulator.keys import Verifier
from flows.simulator.listing import Listing
from flows.simulator.stream import Connection, Tally, attend
from flows.simulator.wire import encode

PATH: Final = "/trade-api/ws/v2"
PING_EVERY: Final = 10.0  # seconds


class KalshiSocket:
    """All clients of the socket."""

    def __init__(self, listing: Listing, feed: Feed, tally: Tally, verifier: Verifier, ping_every: float) -> None:
        self._listing = listing
        self._feed = feed
        self._tally = tally
        self._verifier = verifier
        self._ping_every = ping_every
        self._clients: dict[int, Client] = {}

    # --- clients ---------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A client, from its signed handshake to its end."""
        fault = self._verifier.fault(request.headers, "GET", PATH)
        if fault is not None:
            self._tally.requests[f"GET {PATH} 401"] += 1
            body = {"error": {"code": "authentication_error", "message": "authentication_error", "details": fault}}
            return web.Response(body=encode(body), status=401, content_type="application/json")
        socket = web.WebSocketResponse(compress=False, max_msg_size=64 * 1024 * 1024, timeout=1.0)
        await socket.prepare(request)
        client = Client(self._tally.open(socket, self._listing.at))
        self._clients[client.connection.number] = client
        try:
            abort = request.transport.abort if request.transport else None
            await attend(client.connection, socket, self._listen(client, socket), self._ping(socket), abort=abort)
        finally:
            self._clients.pop(client.connection.number, None)
            self._tally.count(client.connection)
            for subscription in client.subscriptions.values():
                self._feed.subscribers[subscription.channel].drop(subscription, None)
        return socket

    async def _listen(self, client: Client, socket: web.WebSocketResponse) -> None:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                self.command(client, message.data)
            elif message.type is not WSMsgType.BINARY:
                return

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(self._ping_every)
            await socket.ping(b"heartbeat")

    # --- commands --------------------------------------------------------------------------------

    def command(self, client: Client, text: str) -> None:
        """Take a command and answer it."""
        number: int | None = None
        try:
            said = read(text)
            number = said.id or None
            actions: dict[str, Callable[[Client, int | None, dict[str, Any]], None]] = {
                "subscribe": self._subscribe,
                "unsubscribe": self._unsubscribe,
                "update_subscription": self._update,
                "list_subscriptions": self._list,
            }
            if said.cmd not in actions:
                raise Fault(5)
            if said.params is None and said.cmd != "list_subscriptions":
                raise Fault(2)
            actions[said.cmd](client, number, said.params or {})
        except Fault as fault:
            body: dict[str, Any] = {} if number is None else {"id": number}
            client.connection.send(encode(body | {"type": "error", "msg": fault_of(fault.code)}), "error")

    def _subscribe(self, client: Client, number: int | None, params: dict[str, Any]) -> None:
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            raise Fault(3)
        tickers = markets_of(params)
        for channel in channels:
            if channel not in CHANNELS or (channel == BOOK and not tickers):
                code = 14 if channel == BOOK else 8
                body: dict[str, Any] = {} if number is None else {"id": number}
                client.connection.send(encode(body | {"type": "error", "msg": fault_of(code)}), "error")
                continue
            known = client.of(channel)
            if known is None:
                self._open(client, number, channel, tickers, params)
            else:
                self._add(client, known, number, tickers, params)

    def _open(
        self, client: Client, number: int | None, channel: str, tickers: list[str] | None, params: dict[str, Any]
    ) -> None:
        markets = None
        if tickers is None or channel == LIFE:
            self._tally.asked(client.connection, channel, ("",))
        else:
            markets = dict.fromkeys(self._served(client, channel, tickers))
            if tickers and not markets and self._named(tickers):
                return  # lost: not even acknowledged
        client.sids += 1
        is_yes_scale = params.get("use_yes_price") is True
        subscription = Subscription(client.connection, channel, client.sids, markets, is_yes_scale)
        client.subscriptions[client.sids] = subscription
        body: dict[str, Any] = {} if number is None else {"id": number}
        body |= {"type": "subscribed", "msg": {"channel": channel, "sid": client.sids}}
        client.connection.send(encode(body), "subscribed")
        self._feed.subscribers[channel].add(subscription, markets)
        self._feed.show(subscription, markets, params)

    def _add(
        self,
        client: Client,
        known: Subscription,
        number: int | None,
        tickers: list[str] | None,
        params: dict[str, Any],
    ) -> None:
        """More markets; a book that is there already is not sent again."""
        new: list[str] = []
        if known.markets is not None:
            wanted = [ticker for ticker in tickers or [] if ticker not in known.markets]
            new = self._served(client, known.channel, wanted)
            if wanted and not new and self._named(wanted):
                return  # lost
            known.markets.update(dict.fromkeys(new))
            self._feed.subscribers[known.channel].add(known, new)
        known.reply(
            "ok", number, None if params.get("skip_ticker_ack") else {"market_tickers": [*(known.markets or ())]}
        )
        self._feed.show(known, dict.fromkeys(new), params)

    def _named(self, tickers: list[str]) -> list[str]:
        """Those that there are, each once; others are dropped without a word."""
        return [ticker for ticker in dict.fromkeys(tickers) if ticker in self._listing.by_id]

    def _served(self, client: Client, channel: str, tickers: list[str]) -> list[str]:
        """Those that there are and that the client is to get; what it asked for is noted."""
        found = self._named(tickers)
        self._tally.asked(client.connection, channel, found)
        return client.connection.served(found)

    def _unsubscribe(self, client: Client, number: int | None, params: dict[str, Any]) -> None:
        for sid in sids_of(params):
            subscription = client.subscriptions.pop(sid, None)
            if subscription is None:
                raise Fault(7)
            self._feed.subscribers[subscription.channel].drop(subscription, None)
            self._tally.left(client.connection, subscription.channel, None)
            subscription.reply("unsubscribed", number)

    def _update(self, client: Client, number: int | None, params: dict[str, Any]) -> None:
        sids = sids_of(params)
        if len(sids) != 1:
            raise Fault(12)
        subscription = client.subscriptions.get(sids[0])
        if subscription is None:
            raise Fault(7)
        action, tickers = params.get("action"), markets_of(params)
        if action is None:
            raise Fault(15)
        if action == "get_snapshot" and subscription.channel == BOOK:
            wanted = tickers if tickers is not None else list(subscription.markets or ())
            self._feed.snapshots(
                subscription, [each for each in wanted if each in (subscription.markets or ())], number
            )
        elif action not in ("add_markets", "delete_markets") or subscription.channel == LIFE:
            subscription.reply("error", number, fault_of(13))
        elif not tickers:
            raise Fault(14)
        elif action == "add_markets":
            self._add(client, subscription, number, tickers, params)
        else:
            self._delete(client, subscription, number, tickers, params)

    def _delete(
        self, client: Client, known: Subscription, number: int | None, tickers: list[str], params: dict[str, Any]
    ) -> None:
        self._tally.left(client.connection, known.channel, tickers)
        if known.markets is not None:
            self._feed.subscribers[known.channel].drop(known, tickers)
            for ticker in tickers:
                known.markets.pop(ticker, None)
        known.reply(
            "ok", number, None if params.get("skip_ticker_ack") else {"market_tickers": [*(known.markets or ())]}
        )

    def terminate(self, connection: Connection, code: int, market: str) -> None:
        """End with that error the numbered subscriptions of a connection that hold the market; "" = any."""
        client = self._clients.get(connection.number)
        for subscription in list(client.subscriptions.values()) if client else ():
            holds = not market or market in (subscription.markets or ())
            if subscription.channel in (BOOK, TRADE) and holds and client is not None:
                self._feed.subscribers[subscription.channel].drop(subscription, None)
                del client.subscriptions[subscription.sid]
                subscription.reply("error", None, fault_of(code))

    def _list(self, client: Client, number: int | None, params: dict[str, Any]) -> None:
        found = [{"channel": each.channel, "sid": each.sid} for each in client.subscriptions.values()]
        body: dict[str, Any] = {} if number is None else {"id": number}
        client.connection.send(encode(body | {"type": "ok", "msg": found}), "ok")

"""Polymarket's market channel: who is subscribed to which tokens, and what they are told.

Nothing is refused here: a misspelt key or an unknown token is met with silence, as at the venue. Who sends no text
PING for half a minute is dropped.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from flows.simulator.base import Book, Happening, Kind, Market
from flows.simulator.listing import Listing
from flows.simulator.polymarket_frames import Told, best, dump, rest_book, tick_size
from flows.simulator.stream import Connection, Tally, attend
from flows.simulator.wire import ONE, encode

PING_WITHIN: Final = 30.0  # seconds
CEILING: Final = 500
"""Tokens of a connection above which no books are sent on subscribing, as at the venue; 0 = no ceiling."""

CHANNEL: Final = "market"


@dataclass(eq=False)
class Client:
    """A connection, its tokens, and whether it wants best prices and announcements."""

    connection: Connection
    tokens: set[str] = field(default_factory=set)
    has_extras: bool = False


class MarketChannel:
    """All clients of the channel."""

    def __init__(self, listing: Listing, tally: Tally, ping_within: float, ceiling: int = 0) -> None:
        self._listing = listing
        self._ceiling = ceiling
        self._tally = tally
        self._ping_within = ping_within
        self._clients: set[Client] = set()
        self._by_market: dict[str, dict[Client, None]] = {}
        self._traded: dict[str, int] = {}  # market to the time of its last trade

    # --- what clients say ------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """A client, from its handshake to its end."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=4 * 1024 * 1024, timeout=1.0)
        await socket.prepare(request)
        client = Client(self._tally.open(socket, self._listing.at))
        self._clients.add(client)
        try:
            abort = request.transport.abort if request.transport else None
            await attend(client.connection, socket, self._listen(client, socket), abort=abort)
        finally:
            self._tally.count(client.connection)
            self._clients.discard(client)
            self._drop(client, list(client.tokens))
        return socket

    async def _listen(self, client: Client, socket: web.WebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._ping_within
        while (left := until - loop.time()) > 0:
            try:
                message = await socket.receive(timeout=left)
            except TimeoutError:
                return
            if message.type is not WSMsgType.TEXT:
                if message.type is WSMsgType.BINARY:
                    continue
                return
            if message.data == "PING":
                until = loop.time() + self._ping_within
                client.connection.send(b"PONG", "pong")
            else:
                self.command(client, message.data)

    def command(self, client: Client, text: str) -> None:
        """Take a command; one that cannot be read is met with silence."""
        try:
            said = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return
        if not isinstance(said, dict):
            return
        given = said.get("assets_ids")
        tokens = [token for token in given if isinstance(token, str)] if isinstance(given, list) else []
        if said.get("operation") == "unsubscribe":
            self._drop(client, tokens)
        elif said.get("operation") == "subscribe" or said.get("type") == "market":
            if isinstance(said.get("custom_feature_enabled"), bool):
                client.has_extras = said["custom_feature_enabled"]
            self._add(client, tokens, said.get("initial_dump") is not False)

    def _add(self, client: Client, tokens: list[str], is_dumped: bool) -> None:
        new = [
            token for token in dict.fromkeys(tokens) if token in self._listing.by_token and token not in client.tokens
        ]
        self._tally.asked(client.connection, CHANNEL, (self._listing.by_token[token][0].native_id for token in new))
        new = client.connection.served(new)
        client.tokens.update(new)
        for token in new:
            market, _ = self._listing.by_token[token]
            self._by_market.setdefault(market.native_id, {})[client] = None
        is_full = self._ceiling and len(client.tokens) > self._ceiling
        if new and is_dumped and not is_full:
            self._listing.prepare([self._listing.by_token[token][0] for token in new])
            books = [self._dump(token) for token in new]
            client.connection.send(encode(books), "book", len(books))

    def _dump(self, token: str) -> dict[str, Any]:
        market, is_first = self._listing.by_token[token]
        return dump(self._listing.told(market), self._listing.book(market), is_first)

    def _drop(self, client: Client, tokens: list[str]) -> None:
        left = [self._listing.by_token[token][0] for token in tokens if token in self._listing.by_token]
        client.tokens.difference_update(tokens)
        gone = dict.fromkeys(market.native_id for market in left if client.tokens.isdisjoint(market.tokens))
        self._tally.left(client.connection, CHANNEL, gone)
        for token in tokens:
            market, _ = self._listing.by_token.get(token, (None, True))
            if market is not None and client.tokens.isdisjoint(market.tokens):
                self._leave(market.native_id, client)

    def _leave(self, native_id: str, client: Client) -> None:
        clients = self._by_market.get(native_id, {})
        clients.pop(client, None)
        if not clients:
            self._by_market.pop(native_id, None)

    # --- what clients are told -------------------------------------------------------------------

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""
        clients = list(self._by_market.get(happening.market.native_id, ()))
        match happening.kind:
            case Kind.TRADE if clients:
                self._trade(happening, clients)
            case Kind.BOOK if clients:
                self._levels(happening, clients)
            case Kind.LISTED:
                self._announce(Told(happening).listed(), "new_market")
            case Kind.DETERMINED:
                self._clear(happening, clients)
                self._announce(Told(happening).resolved(), "market_resolved")
            case Kind.GONE:
                self._gone(happening.market)
        self._listing.happen(happening)

    def _trade(self, happening: Happening, clients: list[Client]) -> None:
        is_first, payload = Told(happening).trade()
        token = happening.market.tokens[0 if is_first else 1]
        told = [client for client in clients if token in client.tokens]
        for client in told:
            client.connection.send(payload, "last_trade_price")
        self._tally.trades_told += bool(told)
        self._traded[happening.market.native_id] = happening.time

    def _levels(self, happening: Happening, clients: list[Client]) -> None:
        """Best prices first, if they changed; then the levels; after a trade level by level, closed by the books."""
        book, market, told = happening.book, happening.market, Told(happening)
        if book is None or not happening.levels:
            return
        if best(self._listing.before(happening), True) != best(book, True):
            self._best(told, book, clients)
        wholes = [rest_book(market, book, is_first, happening.time) for is_first in (True, False)]
        is_trade = self._traded.pop(market.native_id, None) == happening.time
        for levels in [[level] for level in happening.levels] if is_trade else [happening.levels]:
            payload = told.changes(levels, wholes, book)
            for client in clients:
                client.connection.send(payload, "price_change")
        if is_trade:
            self._books(told, wholes, clients)

    def _best(self, told: Told, book: Book, clients: list[Client]) -> None:
        """The second token's first, as at the venue."""
        wanting = [client for client in clients if client.has_extras]
        for place in (1, 0) if wanting else ():
            payload = told.best(book, place == 0)
            for client in wanting:
                if told.market.tokens[place] in client.tokens:
                    client.connection.send(payload, "best_bid_ask")

    @staticmethod
    def _books(told: Told, wholes: list[dict[str, Any]], clients: list[Client]) -> None:
        for whole in wholes:
            payload = told.refresh(whole)
            for client in clients:
                if whole["asset_id"] in client.tokens:
                    client.connection.send(payload, "book")

    def news(self, kind: str, condition: str, value: float, is_over: bool) -> None:
        """A market's new tick size, or its own again: told of both tokens, each with its book."""
        market = self._listing.named(condition)
        if market is None or kind != "tick-size":
            return
        old = self._listing.told(market)
        own = self._listing.change(market, tick=market.tick if is_over else round(value * ONE))
        for place, token in enumerate(own.tokens):
            payload = tick_size(own, token, old.tick, self._listing.at)
            book = encode([dump(own, self._listing.book(market), place == 0)])
            for client in self._by_market.get(condition, ()):
                if token in client.tokens:
                    client.connection.send(payload, "tick_size_change")
                    client.connection.send(book, "book")

    def _clear(self, happening: Happening, clients: list[Client]) -> None:
        """With the result every order is void."""
        before = self._listing.before(happening)
        levels = [(True, price, 0) for price, _ in before.bids] + [(False, price, 0) for price, _ in before.asks]
        empty = Book((), (), happening.time, before.last_trade)
        emptied = replace(happening, kind=Kind.BOOK, book=empty, levels=tuple(levels))
        if clients:
            self._levels(emptied, clients)
        self._listing.happen(emptied)

    def _announce(self, payload: bytes, kind: str) -> None:
        for client in self._clients:
            if client.has_extras:
                client.connection.send(payload, kind)

    def _gone(self, market: Market) -> None:
        self._traded.pop(market.native_id, None)
        for client in self._by_market.pop(market.native_id, ()):
            client.tokens.difference_update(market.tokens)

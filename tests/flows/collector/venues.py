"""Both venues on one port of this machine, as small as the collector's tests allow; faults are attributes to set."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from flows.simulator.keys import Key, Verifier

DAY = 86_400


def condition(number: int) -> str:
    return f"0x{number:064x}"


def tokens(number: int) -> list[str]:
    return [str(10**20 + 2 * number), str(10**20 + 2 * number + 1)]


def ticker(number: int) -> str:
    return f"KXACME-27-T{number}"


def gamma_market(number: int, **said: Any) -> dict[str, Any]:
    return {
        "id": str(number), "conditionId": condition(number), "question": f"Will acme {number} happen?",
        "slug": f"acme-{number}", "outcomes": '["Yes","No"]', "clobTokenIds": json.dumps(tokens(number)),
        "active": True, "closed": False, "archived": False, "acceptingOrders": True, "volume24hr": 1000.0 - number,
        "bestBid": 0.4, "bestAsk": 0.42,
    } | said  # fmt: skip


def kalshi_market(number: int, **said: Any) -> dict[str, Any]:
    return {
        "ticker": ticker(number), "event_ticker": "KXACME-27", "title": f"Acme {number}?", "status": "active",
        "yes_bid_dollars": "0.4000", "yes_ask_dollars": "0.4200", "yes_bid_size_fp": "10.00",
        "yes_ask_size_fp": "20.00", "volume_24h_fp": f"{1000 - number}.00", "volume_fp": "5000.00",
    } | said  # fmt: skip


@dataclass
class Socket:
    """A client's socket, and what it asked for."""

    ws: web.WebSocketResponse
    asked: list[Any] = field(default_factory=list)
    sent: int = 0

    async def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.sent += len(message) if isinstance(message, list) else 1
        await self.ws.send_str(text)


class Venues:
    """The servers; every request's path is counted."""

    def __init__(self, markets: int = 3, key: Key | None = None) -> None:
        self.markets = markets
        self.port = 0
        self.verifier = None if key is None else Verifier(key, wall=lambda: __import__("time").time())
        self.requests: Counter[str] = Counter()
        self.bodies: list[Any] = []
        self.sockets: dict[str, list[Socket]] = {"polymarket": [], "kalshi": []}
        self.refusing: dict[str, int] = {}  # venue to the status of a refused handshake
        self.answers: dict[str, Callable[[web.Request], web.Response]] = {}  # path to an answer instead of ours
        self.is_silent = False  # sockets accept, and say nothing
        self.is_mute = False  # they answer heartbeats, and say nothing else
        self.closes_at_once = False
        self.is_backwards = False  # books of second tokens are sent first
        self.bid = 0.40
        self.trades: list[dict[str, Any]] = []  # on Kalshi's tape
        self.time = "1790000000000"  # of the books, milliseconds

    @property
    def settings(self) -> dict[str, Any]:
        """Addresses, for `lake.settings.load`."""
        here = f"127.0.0.1:{self.port}"
        return {
            "polymarket_gamma_url": f"http://{here}/gamma",
            "polymarket_clob_url": f"http://{here}/clob",
            "polymarket_wss_url": f"ws://{here}/ws/market",
            "kalshi_api_url": f"http://{here}/trade-api/v2",
            "kalshi_wss_url": f"ws://{here}/trade-api/ws/v2",
        }

    def sent(self) -> int:
        """Messages on all sockets so far."""
        return sum(socket.sent for sockets in self.sockets.values() for socket in sockets)

    # --- REST ------------------------------------------------------------------------------------

    def _rest(self, make: Callable[[web.Request, Any], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self.requests[request.path] += 1
            body = await request.json() if request.method == "POST" else None
            self.bodies.append(dict(request.query) if body is None else body)
            answer = self.answers.get(request.path)
            return answer(request) if answer is not None else web.json_response(make(request, body))

        return handle

    def _events(self, request: web.Request, _: Any) -> Any:
        at = int(request.query.get("after_cursor", 0))
        event = {"id": "7", "title": "Acme", "tags": [{"label": "Politics"}], "markets": [gamma_market(at)]}
        return {"events": [event]} | ({"next_cursor": str(at + 1)} if at + 1 < self.markets else {})

    def _kalshi_events(self, request: web.Request, _: Any) -> Any:
        at = int(request.query.get("cursor", 0))
        event = {"event_ticker": "KXACME-27", "series_ticker": "KXACME", "title": "Acme"}
        cursor = str(at + 1) if at + 1 < self.markets else ""
        return {"events": [event | {"markets": [kalshi_market(at)]}], "cursor": cursor}

    def _kalshi_markets(self, request: web.Request, _: Any) -> Any:
        wanted = set(request.query.get("tickers", "").split(","))
        top = {"yes_bid_dollars": f"{self.bid:.4f}", "yes_ask_dollars": f"{self.bid + 0.02:.4f}"}
        found = [kalshi_market(n, **top) for n in range(self.markets) if ticker(n) in wanted]
        return {"markets": found, "cursor": ""}

    def _books(self, request: web.Request, asked: Any) -> Any:
        names = {tokens(n)[0]: n for n in range(self.markets)}
        return [
            {"market": condition(names[one["token_id"]]), "asset_id": one["token_id"], "timestamp": self.time}
            | levels(self.bid)
            for one in asked
        ]

    @staticmethod
    def _points(request: web.Request, asked: Any) -> Any:
        steps = range(asked["start_ts"], asked["end_ts"], 60 * asked["fidelity"])
        return {"history": {token: [{"t": at, "p": 0.25} for at in steps] for token in asked["markets"]}}

    @staticmethod
    def _candles(request: web.Request, _: Any) -> Any:
        start, end = int(request.query["start_ts"]), int(request.query["end_ts"])
        quad = dict.fromkeys(("open_dollars", "high_dollars", "low_dollars", "close_dollars"), "0.4000")
        minutes = [
            {"end_period_ts": at + 60, "yes_bid": quad, "yes_ask": quad, "price": {"previous_dollars": "0.40"}}
            for at in range(start, end, 60)
        ]
        names = request.query["market_tickers"].split(",")
        return {"markets": [{"market_ticker": name, "candlesticks": minutes} for name in names]}

    def _tape(self, request: web.Request, _: Any) -> Any:
        """The trades of a market, whenever they were."""
        return {"trades": [each for each in self.trades if each["ticker"] == request.query.get("ticker")], "cursor": ""}

    # --- sockets ---------------------------------------------------------------------------------

    async def _market_channel(self, request: web.Request) -> web.StreamResponse:
        return await self._socket(request, "polymarket", self._said_to_polymarket)

    async def _trade_api(self, request: web.Request) -> web.StreamResponse:
        fault = None if self.verifier is None else self.verifier.fault(request.headers, "GET", request.path)
        if fault is not None:
            return web.json_response({"error": fault}, status=401)
        return await self._socket(request, "kalshi", self._said_to_kalshi)

    async def _socket(
        self, request: web.Request, venue: str, said: Callable[[Socket, str], Awaitable[None]]
    ) -> web.StreamResponse:
        self.requests[request.path] += 1
        if venue in self.refusing:
            return web.Response(status=self.refusing[venue])
        ws = web.WebSocketResponse(timeout=0.1)
        await ws.prepare(request)
        socket = Socket(ws)
        self.sockets[venue].append(socket)
        if self.closes_at_once:
            await ws.close()
            return ws
        async for message in ws:
            if message.type is WSMsgType.TEXT and not self.is_silent:
                await said(socket, message.data)
        return ws

    async def _said_to_polymarket(self, socket: Socket, text: str) -> None:
        if text == "PING":
            await socket.send("PONG")
            return
        said = json.loads(text)
        if self.is_mute:
            return
        socket.asked.append(said)
        if said.get("operation") != "unsubscribe":
            names = said["assets_ids"][:: -1 if self.is_backwards else 1]
            await socket.send([self.book(token) for token in names])

    async def _said_to_kalshi(self, socket: Socket, text: str) -> None:
        said = json.loads(text)
        socket.asked.append(said)
        params = said["params"]
        for sid, channel in enumerate(params.get("channels", ()), 1):
            number = 9 if channel == "market_lifecycle_v2" else sid
            await socket.send({"id": said["id"], "type": "subscribed", "msg": {"channel": channel, "sid": number}})
        if params.get("action") != "delete_markets" and 1 in params.get("sids", [1]):
            for place, name in enumerate(params.get("market_tickers", ()), 1):
                await socket.send(snapshot(name, place if "channels" in params else None))

    def book(self, token: str, **said: Any) -> dict[str, Any]:
        """The whole book of a token; the second outcome's is the mirror."""
        number, is_second = divmod(int(token) - 10**20, 2)
        bid = self.bid if not is_second else 0.98 - self.bid
        head = {"event_type": "book", "market": condition(number), "asset_id": token, "tick_size": "0.01"}
        return head | levels(bid) | {"timestamp": self.time} | said


def levels(bid: float) -> dict[str, Any]:
    sides = {"bids": [{"price": f"{bid:.2f}", "size": "10"}], "asks": [{"price": f"{bid + 0.02:.2f}", "size": "20"}]}
    return {"hash": "", **sides}


def snapshot(name: str, seq: int | None, bid: str = "0.40", ask: str = "0.42") -> dict[str, Any]:
    msg = {"market_ticker": name, "yes_dollars_fp": [[bid, "10.00"]], "no_dollars_fp": [[ask, "20.00"]]}
    return {"type": "orderbook_snapshot", "sid": 1, "msg": msg} | ({} if seq is None else {"seq": seq})


@asynccontextmanager
async def running(venues: Venues) -> AsyncIterator[Venues]:
    """The venues on a free port."""
    app = web.Application()
    app.router.add_get("/gamma/events/keyset", venues._rest(venues._events))
    app.router.add_get("/gamma/markets", venues._rest(lambda *_: []))
    app.router.add_post("/clob/books", venues._rest(venues._books))
    app.router.add_post("/clob/batch-prices-history", venues._rest(venues._points))
    app.router.add_get("/trade-api/v2/series", venues._rest(lambda *_: {"series": [{"ticker": "KXACME"}]}))
    app.router.add_get("/trade-api/v2/events", venues._rest(venues._kalshi_events))
    app.router.add_get("/trade-api/v2/markets", venues._rest(venues._kalshi_markets))
    app.router.add_get("/trade-api/v2/markets/candlesticks", venues._rest(venues._candles))
    app.router.add_get("/trade-api/v2/markets/trades", venues._rest(venues._tape))
    app.router.add_get("/ws/market", venues._market_channel)
    app.router.add_get("/trade-api/ws/v2", venues._trade_api)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    venues.port = site._server.sockets[0].getsockname()[1]
    try:
        yield venues
    finally:
        for sockets in venues.sockets.values():
            for socket in sockets:
                if socket.ws._req is not None and socket.ws._req.transport is not None:
                    socket.ws._req.transport.abort()
        await runner.cleanup()


async def until(is_so: Callable[[], Any], within: float = 20.0) -> None:
    """Wait until something is so; fails if it is not within that time."""
    async with asyncio.timeout(within):
        while not is_so():
            await asyncio.sleep(0.005)

"""A venue that sends numbered messages without pause, and knows which: even ones are trades, odd ones quotes."""

import asyncio
import json
import time
from bisect import bisect_right
from contextlib import suppress

from tests.flows.collector.venues import Socket, Venues, condition, tokens

MARKETS = 20
FIRST = 100
"""The first number: above every size that a first book has."""

STEP = 0.01


class Feeder(Venues):
    """Polymarket, sending `rate` messages a second to whoever has subscribed."""

    def __init__(self, rate: int) -> None:
        super().__init__(MARKETS)
        self.rate = rate
        self.next = FIRST
        self._times: list[tuple[int, float]] = []  # each number with which a burst began, and when, monotonic
        self._tasks: list[asyncio.Task[None]] = []

    async def _said_to_polymarket(self, socket: Socket, text: str) -> None:
        await super()._said_to_polymarket(socket, text)
        if text != "PING" and len(socket.asked) == 1:
            self._tasks.append(asyncio.create_task(self._stream(socket)))

    async def _stream(self, socket: Socket) -> None:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        with suppress(ConnectionError, RuntimeError):
            while not socket.ws.closed:
                self._times.append((self.next, time.monotonic()))
                for _ in range(int((loop.time() - began) * self.rate) - sent):
                    number, self.next, sent = self.next, self.next + 1, sent + 1
                    await socket.ws.send_str(message(number, time.time_ns() // 1_000_000))
                await asyncio.sleep(STEP)

    def sent_at(self, number: int) -> float:
        """When the burst began in which it was sent, monotonic."""
        return self._times[bisect_right(self._times, (number, float("inf"))) - 1][1]


def message(number: int, at: int) -> str:
    """A trade whose hash, or a quote whose size, is that number; `at` is the venue's time, milliseconds."""
    place = number // 2 % MARKETS
    head = {"n": number, "market": condition(place), "timestamp": str(at)}
    token = tokens(place)[0]
    if number % 2 == 0:
        trade = {"asset_id": token, "price": "0.41", "size": "1", "side": "BUY", "transaction_hash": f"0x{number:064x}"}
        return json.dumps({"event_type": "last_trade_price", **head, **trade}, separators=(",", ":"))
    change = {"asset_id": token, "price": "0.40", "size": str(number), "side": "BUY", "hash": f"{number:x}"}
    change |= {"best_bid": "0.40", "best_ask": "0.42"}
    return json.dumps({"event_type": "price_change", **head, "price_changes": [change]}, separators=(",", ":"))

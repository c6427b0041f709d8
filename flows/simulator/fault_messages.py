"""Faults of messages: bad copies, strange kinds and fields, repeats, holes, a clock that is off.

A bad copy is said before the message that it is made from, which comes unharmed: what a right client stores is the
same. Only `hole` loses something.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import web

from flows.simulator.faults import Fault, Handler, body_of
from flows.simulator.stream import Connection, Said
from flows.simulator.wire import encode
from lake.vocab import Venue

NAN: Final = "@NaN@"
"""Stands for the literal NaN, which no encoder writes."""

_PRICES: Final = ("price", "price_dollars", "yes_price_dollars")
_SIZES: Final = ("size", "delta_fp", "count_fp")
_TIMES: Final = ("timestamp", "ts_ms")
BAD_PRICES: Final[tuple[Any, ...]] = (
    0.5,
    "",
    "NaN",
    NAN,
    1e308,
    "1e308",
    "-0.1",
    "1.5",
    None,
    [],
    {},
    True,
    "0,5",
    "half",
)
BAD_SIZES: Final[dict[str, tuple[Any, ...]]] = {
    "size": ("-5", "", "NaN", 12, None),
    "delta_fp": ("", "NaN", 12, None),
    "count_fp": ("-5.00", "", "NaN", 12, None),
}
BAD_TIMES: Final[dict[str, tuple[Any, ...]]] = {
    "timestamp": ("0", "4070908800000", "", "soon", None, "-1", "9" * 30),
    "ts_ms": (0, 4_070_908_800_000, "", "soon", -1, 10**30),
}
"""The time of a trade: 1970, 2099, and none."""

REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "price_change": ("market", "timestamp", "price_changes"),
    "last_trade_price": ("market", "asset_id", "price", "size", "side", "timestamp"),
    "book": ("market", "asset_id", "timestamp", "bids"),
    "orderbook_delta": ("market_ticker", "price_dollars", "delta_fp", "side"),
    "trade": ("trade_id", "market_ticker", "yes_price_dollars", "count_fp"),
    "orderbook_snapshot": ("market_ticker",),
}
"""Fields without which a message of a kind says nothing."""

_TRADES: Final = ("last_trade_price", "trade")


class Copies(Fault, ABC):
    """Says something bad before a share of the messages."""

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """The bad one, and the message."""
        bad = self.bad(kind, body) if self.is_about(body) else None
        return ((kind, body),) if bad is None or not self.strikes() else (bad, (kind, body))

    @abstractmethod
    def bad(self, kind: str, body: bytes) -> Said | None:
        """What is said before it; None = nothing before this kind."""


class UnknownKind(Copies):
    """Messages of a kind that there is not."""

    def bad(self, kind: str, body: bytes) -> Said | None:
        """It names no market."""
        return "novelty", encode({"event_type": "novelty", "words": "in no document"})


class UnknownField(Fault):
    """Messages hold fields that there are not; they are right otherwise."""

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """The message with a field more in each object."""
        if not self.is_about(body) or not self.strikes():
            return ((kind, body),)
        found = msgspec.json.decode(body)
        for each in found if isinstance(found, list) else [found]:
            each["novel_field"] = {"words": ["in no document"], "number": 1}
        return ((kind, encode(found)),)


class MissingField(Copies):
    """Copies that lack a field without which they say nothing, one field after the other."""

    def bad(self, kind: str, body: bytes) -> Said | None:
        """Of the kinds that have such fields."""
        found = _object(body) if kind in REQUIRED else None
        if found is None:
            return None
        names = REQUIRED[kind]
        found.pop(names[self.hits % len(names)], None)
        return kind, encode(found)


class WrongType(Copies):
    """Copies with prices, sizes and times of wrong types and outside of their domains, one after the other."""

    def bad(self, kind: str, body: bytes) -> Said | None:
        """Of books' changes and trades."""
        if kind not in ("price_change", "last_trade_price", "orderbook_delta", "trade"):
            return None
        found = _object(body)
        if found is None:
            return None
        choices = list(_choices(found, is_trade=kind in _TRADES))
        where, name, value = choices[self.hits % len(choices)]
        where[name] = value
        if name == "ts_ms":
            found.pop("ts", None)  # the same in seconds
        return kind, encode(found).replace(f'"{NAN}"'.encode(), b"NaN")


class Malformed(Fault):
    """Frames that are cut in half, before those that are whole."""

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """The half, and the whole."""
        return (("malformed", frame[: len(frame) // 2]), (kind, frame)) if self.strikes() else ((kind, frame),)


class BadUtf8(Fault):
    """Text frames that are no UTF-8, before those that are."""

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """The bad one, and the frame."""
        bad = b'{"event_type":"\xff\xfe\xc0\x80","type":"\xed\xa0\x80"}'
        return (("bad_utf8", bad), (kind, frame)) if self.strikes() else ((kind, frame),)


class Duplicate(Fault):
    """Frames that are sent twice, byte for byte; on Kalshi with the same number."""

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """It, and it again."""
        is_hit = self.is_about(frame) and self.strikes()
        return ((kind, frame), (kind, frame)) if is_hit else ((kind, frame),)


class Hole(Fault):
    """Kalshi's frames that are numbered and never sent."""

    venues = (Venue.KALSHI,)

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """Nothing, of those that have a number."""
        return () if b'"seq":' in frame and self.is_about(frame) and self.strikes() else ((kind, frame),)


class Reorder(Fault):
    """Frames of two markets change places: no order is promised across markets on Polymarket."""

    venues = (Venue.POLYMARKET,)

    def begin(self) -> None:
        """Nothing is held yet."""
        self._held: dict[int, tuple[Connection, Said]] = {}

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """The one held before comes after one of another market, and before one of its own."""
        held = self._held.pop(connection.number, None)
        if held is not None:
            own = _market(held[1][1])
            return (held[1], (kind, frame)) if own is None or own == _market(frame) else ((kind, frame), held[1])
        if _market(frame) is None or not self.strikes():
            return ((kind, frame),)
        self._held[connection.number] = connection, (kind, frame)
        return ()

    def finish(self) -> None:
        """What is held is sent."""
        for connection, (kind, frame) in self._held.values():
            connection.put(frame, kind)


class Clock(Fault):
    """The venue's clock is off by `value` seconds: times of messages and of trades over REST."""

    value: ClassVar[float | None] = 3.0

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """The message with its times moved."""
        if body[:1] == b"[":  # books on subscribing
            return ((kind, body),)
        self.hit()
        return ((kind, encode(_moved(msgspec.json.decode(body), self._by))),)

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse | None:
        """Trades and the time with their times moved."""
        if not request.path.endswith(("/trades", "/time")):
            return None
        right = await handler(request)
        if right.status != 200:
            return right
        found = msgspec.json.decode(body_of(right))
        if isinstance(found, int):
            return web.json_response(found + self._by // 1_000)
        for trade in found if isinstance(found, list) else found.get("trades", found.get("data", [])):
            if "created_time" in trade:
                trade["created_time"] = _later(trade["created_time"], self._by)
            else:
                trade["timestamp"] += self._by // 1_000
        return web.Response(body=encode(found), content_type="application/json")

    @property
    def _by(self) -> int:
        return round(self.given * 1_000)


def _object(body: bytes) -> dict[str, Any] | None:
    found = msgspec.json.decode(body)
    return found if isinstance(found, dict) else None


def _choices(found: dict[str, Any], *, is_trade: bool) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Every way to spoil it: where, which field, and with what."""
    changes = found.get("price_changes")
    where = changes[0] if isinstance(changes, list) and changes else found
    yield from ((where, name, value) for name in _PRICES if name in where for value in BAD_PRICES)
    yield from ((where, name, value) for name in _SIZES if name in where for value in BAD_SIZES[name])
    for name in _TIMES if is_trade else ():
        yield from ((found, name, value) for value in BAD_TIMES[name] if name in found)


def _market(frame: bytes) -> str | None:
    """The market of a frame of one object."""
    found = _object(frame) if frame[:1] == b"{" else None
    market = found.get("market") if found else None
    return market if isinstance(market, str) else None


def _moved(found: dict[str, Any], by: int) -> dict[str, Any]:
    """Its times later by so many milliseconds, in the form that each has."""
    moves: dict[str, Callable[[Any], Any]] = {
        "timestamp": lambda value: str(int(value) + by),
        "ts_ms": lambda value: value + by,
        "ts": lambda value: _later(value, by) if isinstance(value, str) else (value * 1_000 + by) // 1_000,
        "time": lambda value: _later(value, by),
    }
    return {name: moves[name](value) if name in moves else value for name, value in found.items()}


def _later(text: str, by: int) -> str:
    return (datetime.fromisoformat(text) + timedelta(milliseconds=by)).isoformat().replace("+00:00", "Z")

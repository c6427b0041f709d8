"""What a frame holds that no struct of ours knows: kinds, and fields by the kind of their message.

Adapters skip what they do not read, so a venue may add or rename fields without anybody's notice. What is documented by
the venue and not read by us is listed here, so that the rest is news. Looking costs some microseconds a message: do it
for a sample of frames (`Sample`), not for each.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from flows.venues import gamma, kalshi_rest_wire, kalshi_wire, polymarket_wire
from flows.venues.base import Frame, Wire, elements
from lake.errors import BadFrame
from lake.text import safe_text

MOST: Final = 300
"""Different strangers that a sample keeps: their names are the venue's."""

Shape = Mapping[str, Any] | None
"""Names of fields to the shape of what is in them; None = anything may be."""


class Stranger(NamedTuple):
    """A field, as in `price_changes[].fee`, or an unknown kind as a whole, of which `path` is empty."""

    kind: str
    path: str
    example: str  # short, and safe to show


def _shape(kind: inspect.Type, within: frozenset[type] = frozenset()) -> Shape:
    """The fields of a struct, of a list's items, or of what may be beside null; a struct inside itself is left open."""
    if isinstance(kind, inspect.StructType):
        if kind.cls in within:
            return None
        fields = {field.encode_name: _shape(field.type, within | {kind.cls}) for field in kind.fields}
        return fields | ({kind.tag_field: None} if kind.tag_field else {})
    if isinstance(kind, inspect.ListType):
        return _shape(kind.item_type, within)
    if isinstance(kind, inspect.UnionType):
        return next((found for each in kind.types if (found := _shape(each, within)) is not None), None)
    return None


def _of_struct(struct: type, **said: Shape) -> Shape:
    return {**(_shape(inspect.type_info(struct)) or {}), **said}


def _tagged(union: Any) -> dict[str, Shape]:
    """The shape of each struct of a union, by its tag."""
    info = inspect.type_info(union)
    assert isinstance(info, inspect.UnionType)
    return {str(each.tag): _shape(each) for each in info.types if isinstance(each, inspect.StructType)}


_SHAPES: Final[Mapping[Wire, Mapping[str, Shape]]] = {
    Wire.POLYMARKET_SOCKET: _tagged(polymarket_wire.AnyFrame),
    Wire.KALSHI_SOCKET: _tagged(kalshi_wire.AnyFrame),
    Wire.CLOB_BOOKS: {"book": _of_struct(polymarket_wire.RestBook)},
    Wire.GAMMA: {
        "market": _of_struct(gamma.GammaMarket),
        "event": _of_struct(gamma.GammaEvent, markets=None),  # its markets are told as such
    },
    Wire.KALSHI_REST: {
        "market": _of_struct(kalshi_rest_wire.RestMarket),
        "event": _of_struct(kalshi_rest_wire.RestEvent, markets=None),
        "series": _of_struct(kalshi_rest_wire.RestSeries),
        "trade": _of_struct(kalshi_rest_wire.RestTrade),
    },
}

_UNREAD: Final[Mapping[str, str]] = {
    "book": "last_trade_price min_order_size neg_risk tick_size timestamp hash",
    "last_trade_price": "fee_rate_bps",
    "best_bid_ask": "spread",
    "tick_size_change": "old_tick_size",
    "new_market": (
        "id condition_id clob_token_ids active group_item_title sports_market_type line game_start_time taker_base_fee"
        " fees_enabled fee_schedule"
    ),
    "market_resolved": "id event_message tags question slug description outcomes",
    "ticker": (
        "msg.market_id msg.price_dollars msg.last_trade_size_fp msg.dollar_volume msg.dollar_open_interest msg.time"
        " msg.price msg.Clock"
    ),
    "trade": "msg.no_price_dollars msg.no_price msg.taker_book_side",
    "orderbook_snapshot": "id msg.market_id",
    "orderbook_delta": "msg.market_id msg.client_order_id msg.subaccount",
    "market_lifecycle_v2": (
        "msg.exchange_index msg.price_level_structure msg.is_deactivated msg.determination_ts msg.settlement_value"
        " msg.settled_ts msg.strike_type msg.floor_strike msg.cap_strike msg.custom_strike msg.yes_sub_title"
    ),
    "event_lifecycle": "msg.subtitle msg.exchange_index msg.strike_date msg.strike_period",
    "subscribed": "id",
    "unsubscribed": "id",
    "ok": "id msg[].channel msg[].sid",
    "error": "id msg.msg msg.market_ticker msg.market_tickers",
}
_KNOWN_UNREAD: Final = {kind: frozenset(names.split()) for kind, names in _UNREAD.items()}


def strangers(wire: Wire, payload: bytes) -> list[Stranger]:
    """Each once a frame, in order. Nothing of a frame that cannot be read: it is a dead letter anyhow.

    Of REST answers all fields that no struct reads are told, as venues document hundreds that we do not use.
    """
    if wire not in _SHAPES:
        return []
    try:
        messages = [msgspec.json.decode(raw) for raw in elements(payload)]
    except (BadFrame, msgspec.DecodeError, RecursionError, UnicodeError):
        return []
    found: dict[tuple[str, str], Stranger] = {}
    for message in messages:
        for kind, item in _items(wire, message):
            for stranger in _of(_SHAPES[wire], kind, item):
                found.setdefault(stranger[:2], stranger)
    return list(found.values())


def _items(wire: Wire, message: Any) -> Iterator[tuple[str, Any]]:
    """The messages of a frame, or the things of an answer, each with its kind."""
    if not isinstance(message, dict):
        return
    if wire is Wire.POLYMARKET_SOCKET:
        yield str(message.get("event_type")), message
    elif wire is Wire.KALSHI_SOCKET:
        yield str(message.get("type")), message
    elif wire is Wire.CLOB_BOOKS:
        yield "book", message
    elif wire is Wire.GAMMA and ("conditionId" in message or "question" in message):
        yield "market", message
    elif wire is Wire.GAMMA and "id" in message:
        yield from _listed({"events": [message]})
    else:
        yield from _listed(message)


def _listed(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, kind in (("markets", "market"), ("events", "event"), ("series", "series"), ("trades", "trade")):
        items = answer.get(name)
        for item in items if isinstance(items, list) else ():
            yield kind, item
            if kind == "event" and isinstance(item, dict):
                yield from _listed({"markets": item.get("markets")})


def _of(shapes: Mapping[str, Shape], kind: str, item: Any) -> Iterator[Stranger]:
    shape = shapes.get(kind)
    if kind not in shapes:
        yield Stranger(safe_text(kind, 60), "", _example(item))
    elif shape is not None:
        unread = _KNOWN_UNREAD.get(kind, frozenset())
        yield from (
            Stranger(kind, safe_text(path, 80), _example(value)) for path, value in _unknown(item, shape, unread)
        )


def _unknown(item: Any, shape: Shape, unread: frozenset[str], path: str = "") -> Iterator[tuple[str, Any]]:
    if shape is None:
        return
    if isinstance(item, list):
        for each in item:
            yield from _unknown(each, shape, unread, f"{path[:-1]}[]." if path else "")
    elif isinstance(item, dict):
        for name, value in item.items():
            if name in shape:
                yield from _unknown(value, shape[name], unread, f"{path}{name}.")
            elif path + name not in unread:
                yield path + name, value


def _example(value: Any) -> str:
    try:
        return safe_text(msgspec.json.encode(value).decode(), 60)
    except (msgspec.EncodeError, UnicodeError, RecursionError):
        return "?"


class Sample:
    """Looks at one frame in `every`, and counts; `found` has the count and the first example of each."""

    def __init__(self, every: int = 100) -> None:
        self.found: dict[tuple[Wire, str, str], tuple[int, str]] = {}
        self.others = 0  # strangers beyond those that are kept
        self._every = every

    def look(self, frame: Frame) -> None:
        """Take the next frame; it is looked at if its number says so."""
        if frame.seq % self._every:
            return
        for kind, path, example in strangers(frame.wire, frame.payload):
            key = (frame.wire, kind, path)
            count, first = self.found.get(key, (0, example))
            if count or len(self.found) < MOST:
                self.found[key] = (count + 1, first)
            else:
                self.others += 1

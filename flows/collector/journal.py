"""What the pipeline is told, in order, and how each of it lies in the write-ahead log and in table `raw`.

The pipeline's rows follow from these alone, so whoever tells them again, after a crash or months later, gets the
same rows. Whatever moves it therefore comes as one of these: a frame, an open or lost connection, the time, the end of
a segment. A catalogue's pages are told, but not kept: they are large, and are asked for again.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from hashlib import blake2b
from typing import Any, Final

import msgspec

from flows.venues.base import Closed, Frame, Opened, Wire, frame_seq
from lake.vocab import Gap, Venue
from lake.wal import FIRST_KIND


class Kind(IntEnum):
    """Of a record; the names are those of `raw.kind`."""

    FRAME = FIRST_KIND
    OPENED = FIRST_KIND + 1
    CLOSED = FIRST_KIND + 2
    TICK = FIRST_KIND + 3
    CUT = FIRST_KIND + 4
    ASKED = FIRST_KIND + 5
    DROPPED = FIRST_KIND + 6
    ABSENT = FIRST_KIND + 7
    WITHHELD = FIRST_KIND + 8
    PLACED = FIRST_KIND + 9


class Note(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is no frame and of no connection's life."""

    seq: int
    received: int
    monotonic: int = 0


class Tick(Note, frozen=True, gc=False):
    """It is `received`: what is due by the clock is due."""


class Cut(Note, frozen=True, gc=False):
    """The segment ends with this. What is known then is kept in `raw` too if it is an anchor."""

    is_anchor: bool = False


class Asked(Note, frozen=True, gc=False):
    """So many markets are asked for on that connection from now on."""

    connection: str
    markets: int


class Dropped(Note, frozen=True, gc=False):
    """These markets are followed no longer."""

    markets: list[int]


class Absent(Note, frozen=True, gc=False):
    """Nobody heard of the venue from `start` until now."""

    venue: Venue
    start: int
    reason: Gap = Gap.COLLECTOR_DOWN


class Placed(Note, frozen=True, gc=False):
    """These markets are about to be followed: native ids, and tokens, the first outcome's first, as we know them."""

    venue: Venue
    markets: list[tuple[str, list[str]]]


class Withheld(Note, frozen=True, gc=False):
    """A frame was here whose bytes are not kept."""

    connection: str
    wire: Wire
    payload: bytes


Item = Frame | Opened | Closed | Tick | Cut | Asked | Dropped | Absent | Withheld | Placed


class _Told(msgspec.Struct, omit_defaults=True):
    """The payload of a record that is no frame."""

    reason: str = ""
    is_anchor: bool = False
    count: int = 0
    markets: list[int] = []
    places: list[tuple[str, list[str]]] = []
    venue: str = ""
    start: int = 0
    bytes: int = 0
    digest: str = ""


_TOLD: Final = msgspec.json.Decoder(_Told)
_encode: Final = msgspec.json.encode

Written = tuple[Kind, str, bytes]
"""Kind, name (connection, a space, wire) and payload of a record."""


def write(item: Item) -> Written:
    """What is written of the item."""
    match item:
        case Frame():
            return Kind.FRAME, f"{item.connection} {item.wire}", item.payload
        case Tick():
            return Kind.TICK, "", b""
        case Cut():
            return Kind.CUT, "", _encode(_Told(is_anchor=item.is_anchor))
        case Opened():
            return Kind.OPENED, f"{item.connection} {item.wire}", b""
        case Closed():
            return Kind.CLOSED, f"{item.connection} ", _encode(_Told(reason=item.reason))
        case Asked():
            return Kind.ASKED, f"{item.connection} ", _encode(_Told(count=item.markets))
        case Dropped():
            return Kind.DROPPED, "", _encode(_Told(markets=item.markets))
        case Absent():
            return Kind.ABSENT, "", _encode(_Told(venue=item.venue, start=item.start, reason=item.reason))
        case Placed():
            return Kind.PLACED, "", _encode(_Told(places=item.markets, venue=item.venue))
        case Withheld():
            return Kind.WITHHELD, f"{item.connection} {item.wire}", item.payload


def withheld(payload: bytes) -> bytes:
    """What is kept of a frame that is not: its length and a hash."""
    return _encode(_Told(bytes=len(payload), digest=blake2b(payload, digest_size=16).hexdigest()))


def read(seq: int, kind: int, name: str, received: int, monotonic: int, payload: bytes) -> Item:
    """The item that was written so. Raises `ValueError`, `msgspec.DecodeError` on what no `write` makes."""
    when: dict[str, Any] = {"seq": seq, "received": received, "monotonic": monotonic}
    connection, _, wire = name.rpartition(" ")
    if kind == Kind.FRAME:
        return Frame(seq, connection, received, payload, Wire(wire), monotonic)
    if kind == Kind.TICK:
        return Tick(**when)
    return _READERS[Kind(kind)](when, connection, wire, payload)


def _absent(when: Mapping[str, Any], payload: bytes) -> Item:
    told = _TOLD.decode(payload)
    return Absent(venue=Venue(told.venue), start=told.start, reason=Gap(told.reason), **when)


def _placed(when: Mapping[str, Any], payload: bytes) -> Item:
    told = _TOLD.decode(payload)
    return Placed(venue=Venue(told.venue), markets=told.places, **when)


_READERS: Final[Mapping[Kind, Callable[[dict[str, Any], str, str, bytes], Item]]] = {
    Kind.OPENED: lambda when, connection, wire, payload: Opened(connection=connection, wire=Wire(wire), **when),
    Kind.CLOSED: lambda when, connection, wire, payload: Closed(
        connection=connection, reason=Gap(_TOLD.decode(payload).reason), **when
    ),
    Kind.CUT: lambda when, connection, wire, payload: Cut(is_anchor=_TOLD.decode(payload).is_anchor, **when),
    Kind.ASKED: lambda when, connection, wire, payload: Asked(
        connection=connection, markets=_TOLD.decode(payload).count, **when
    ),
    Kind.DROPPED: lambda when, connection, wire, payload: Dropped(markets=_TOLD.decode(payload).markets, **when),
    Kind.ABSENT: lambda when, connection, wire, payload: _absent(when, payload),
    Kind.PLACED: lambda when, connection, wire, payload: _placed(when, payload),
    Kind.WITHHELD: lambda when, connection, wire, payload: Withheld(
        connection=connection, wire=Wire(wire), payload=payload, **when
    ),
}


def number_of(seq: int, epoch: int) -> int:
    """The place of a `seq` in its life."""
    return seq - frame_seq(epoch, 0)

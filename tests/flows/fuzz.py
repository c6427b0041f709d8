"""Frames as a hostile network would send them: the project's own, mutated. Seeded, so a failure can be repeated."""

import json
import re
from random import Random
from typing import Any

from flows.venues.base import Wire
from tests.flows.feed import FRAMES, frame

ODD: list[Any] = [
    None, True, 0, 1, -1, 0.5, 55, 10**30, 1e308, "", "0", "1", "0.5", "-0.1", "1.5", "NaN", "Infinity", "1e9999999999",
    "9" * 400, "0." + "3" * 50, "½", "\ud83d\ude00", "<b>", "=cmd()", "\x00", [], {}, [[]], [["0.4", "5.00"]], {"a": 1},
    "BUY", "SELL", "yes", "no", "1790000000000", "99999999999999999999",
]  # fmt: skip
JUNK = [b"", b"\xff", b"\x00", b"{", b"}", b"[", b"]", b'"', b",", b":", b"NaN", b"null", b"\\ud800", b"-", b"e9"]


POLLED = ("rest_", "gamma_", "clob_", "history_", "tape_", "life_")


def corpus(wire: Wire) -> list[bytes]:
    """Our own frames of this wire's venue, those that belong on the wire four times as often as strays."""
    names = sorted(path.stem for path in (FRAMES / wire.venue.value).iterdir())
    weights = {name: 4 if name.startswith(POLLED) is wire.is_poll else 1 for name in names}
    own = {"history": "history_", "trades": "tape_", "market": "life_"}.get(wire.value.rpartition("/")[2])
    if own is not None:  # read by nothing but their own form
        weights = {name: 100 if name.startswith(own) else 1 for name in names}
    return [frame(f"{wire.venue.value}/{name}") for name in names for _ in range(weights[name])]


def mutated(wire: Wire, random: Random, count: int) -> list[bytes]:
    """`count` frames: as they are, with other values, of other bytes, cut, spliced or repeated."""
    known, frames = corpus(wire), list[bytes]()
    for _ in range(count):
        one = _in_turn(random.choice(known), len(frames))
        for _ in range(random.choice((0, 0, 1, 1, 2, 4))):
            one = random.choice((_other_value, _other_value, _other_value, _other_bytes, _cut, _spliced))(
                one, known, random
            )
        frames += [one] * random.choice((1, 1, 1, 1, 2))
    return frames[:count]


def _in_turn(one: bytes, number: int) -> bytes:
    """The frame with the next sequence number and a trade id of its own, so that not all are repeats."""
    one = re.sub(rb'"seq":\d+', b'"seq":%d' % (number + 1), one, count=1)
    return one.replace(b'"trade_id":"aaaaaaaa', b'"trade_id":"%08x' % number)


def _other_value(one: bytes, known: list[bytes], random: Random) -> bytes:
    """A value somewhere in the document is another, gone, or takes another name."""
    try:
        document = json.loads(one)
    except ValueError:
        return _other_bytes(one, known, random)
    places = list(_places(document))
    if not places:
        return b"[" + one + b"]"
    holder, key = random.choice(places)
    match random.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key}_"] = holder.pop(key)
        case 2:
            other = random.choice(list(_places(document)))
            holder[key] = json.loads(json.dumps(other[0][other[1]]))
        case _:
            holder[key] = random.choice(ODD)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=random.random() < 0.5).encode("utf-8", "replace")


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _other_bytes(one: bytes, known: list[bytes], random: Random) -> bytes:
    at = random.randrange(len(one) + 1)
    return (
        one[:at]
        + random.choice((random.choice(JUNK), random.randbytes(random.randrange(4))))
        + one[at + random.randrange(3) :]
    )


def _cut(one: bytes, known: list[bytes], random: Random) -> bytes:
    at = random.randrange(len(one) + 1)
    return one[:at] if random.random() < 0.5 else one[at:]


def _spliced(one: bytes, known: list[bytes], random: Random) -> bytes:
    other = random.choice(known)
    return random.choice(
        (one + other, b"[" + one + b"," + other + b"]", one[: len(one) // 2] + other[len(other) // 2 :])
    )

"""How the venues write numbers, times and cursors: from the model's integers to the texts of both protocols."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from lake.clock import SECOND_US, from_us

ONE: Final = 1_000_000
"""A price of 1, or one contract."""

_ENCODER: Final = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """`value` as compact JSON."""
    return _ENCODER.encode(value)


@lru_cache(maxsize=1 << 16)
def plain(value: int) -> str:
    """1e-6 as Polymarket writes it: as many digits as it needs, as in 0.5."""
    whole, part = divmod(abs(value), ONE)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text


@lru_cache(maxsize=1 << 16)
def dollars(value: int) -> str:
    """1e-6 as Kalshi writes prices: four decimals."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // ONE}.{value % ONE // 100:04d}"


@lru_cache(maxsize=1 << 16)
def count(value: int) -> str:
    """1e-6 as Kalshi writes contracts: two decimals."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // ONE}.{value % ONE // 10_000:02d}"


def number(value: int) -> float:
    """1e-6 as a JSON number."""
    return value / ONE


def seconds(us: int) -> int:
    """Whole seconds since the epoch."""
    return us // SECOND_US


def milliseconds(us: int) -> str:
    """Milliseconds since the epoch, as Polymarket writes them."""
    return str(us // 1_000)


@lru_cache(maxsize=1 << 16)
def iso(us: int) -> str:
    """RFC 3339 in UTC, microseconds only where there are some."""
    return from_us(us).isoformat().replace("+00:00", "Z")


def uuid_of(*parts: str) -> str:
    """A text in the form of a UUID, always the same for the same parts."""
    text = blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def hex_of(*parts: str) -> str:
    """0x and 64 hexadecimal digits, always the same for the same parts."""
    return "0x" + blake2b("\0".join(parts).encode(), digest_size=32).hexdigest()


def cursor_of(*place: int | float | str) -> str:
    """An opaque text for a place in a list."""
    return urlsafe_b64encode(encode(place)).decode().rstrip("=")


def place_of(cursor: str) -> list[Any] | None:
    """The place that a cursor stands for; None if it is none of ours."""
    try:
        found = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
    return found if isinstance(found, list) else None

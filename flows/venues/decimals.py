"""Venues' decimals as integers of 1e-6: exact sums, exact comparisons, exact complements."""

from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

from lake.errors import BadFrame

ONE: Final = 1_000_000
"""A price of 1, or one contract."""

Number = str | int | float | None
"""A decimal as venues send it: a string as a rule, at times a JSON number."""


@lru_cache(maxsize=1 << 17, typed=True)  # True is no 1
def units(text: Number) -> int:
    """`text` in integers of 1e-6, the nearest if it is finer. Raises `BadFrame` on what is no finite decimal."""
    if isinstance(text, str):
        whole, _, part = text.partition(".")
        if len(part) <= 6 and len(whole) <= 12 and whole.isdecimal() and part.isdecimal() and text.isascii():
            return int(whole) * ONE + int(part) * int(10 ** (6 - len(part)))
    return _slow_units(text)


def price(text: Number) -> int:
    """A price in 1e-6; raises `BadFrame` outside 0 to 1."""
    value = units(text)
    if not 0 <= value <= ONE:
        raise BadFrame(f"price {text!r} is outside 0..1")
    return value


def quote(text: Number) -> int | None:
    """The best price of a side; None for an empty side, which venues mark by 0, 1, "" or nothing at all."""
    if text is None or text == "":
        return None
    value = price(text)
    return None if value in (0, ONE) else value


def size(text: Number) -> int:
    """Contracts in 1e-6; raises `BadFrame` below 0."""
    value = units(text)
    if value < 0:
        raise BadFrame(f"size {text!r} is negative")
    return value


def cents(value: int | None) -> str | None:
    """Whole cents, as Kalshi sent them until March 2026, in dollars; raises `BadFrame` outside 0 to 100."""
    if value is not None and not 0 <= value <= 100:
        raise BadFrame("a price in cents is outside 0..100")
    return None if value is None else f"{value / 100:.4f}"


def to_float(value: int | None) -> float | None:
    """Integers of 1e-6 as the lake's Float64."""
    return None if value is None else value / ONE


def _slow_units(text: Number) -> int:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise BadFrame(f"{text!r} is no decimal")
    try:
        value = Decimal(text if isinstance(text, str) else repr(text))
    except (InvalidOperation, ValueError):
        raise BadFrame(f"{str(text)[:40]!r} is no decimal" if isinstance(text, str) else "a number too long") from None
    if not value.is_finite() or value.adjusted() >= 12:
        raise BadFrame(f"{str(text)[:40]!r} is out of range")
    return int((value * ONE).to_integral_value())

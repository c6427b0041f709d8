"""What may be asked: every argument of a question is checked here, and named when it cannot be used."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from lake.clock import parse_span, parse_time
from lake.errors import QueryError

LARGEST_KEY = 2**63

Instant: TypeAlias = datetime | str
"""A moment with its time zone, or a text such as 2026-05-15T19:14:00Z."""


def require_choice(field: str, found: str, valid: Collection[str]) -> str:
    """`found` as a plain text, if it is one of `valid`."""
    if found not in valid:
        raise QueryError(f"{field} {found!r}: use one of {', '.join(valid)}")
    return str(found)


def require_count(field: str, found: int | None) -> int | None:
    """`found`, if it is None (no limit) or a whole number from 0 on."""
    if found is not None and (isinstance(found, bool) or not isinstance(found, int) or found < 0):
        raise QueryError(f"{field} {found!r}: give a whole number from 0 on, or None for all")
    return found


def require_span(field: str, found: str) -> timedelta:
    """The width of a window such as 15m."""
    try:
        return parse_span(found)
    except (ValueError, OverflowError):
        raise QueryError(f"{field} {found!r}: give a number and s, m, h or d, as in 15m, 1h or 7d") from None


def require_time(field: str, found: Instant | None) -> datetime | None:
    """`found` in UTC, if it is None, has a time zone, or is a text such as 2026-05-15T19:14:00Z."""
    if found is None:
        return None
    if isinstance(found, str):
        try:
            return parse_time(found)
        except (ValueError, OverflowError):
            raise QueryError(f"{field} {found!r}: give a UTC instant, as in 2026-05-15T19:14:00Z") from None
    if found.tzinfo is None:
        raise QueryError(f"{field} {found.isoformat()}: has no time zone; give it in UTC")
    return found.astimezone(UTC)


def require_range(start: Instant | None, end: Instant | None) -> tuple[datetime | None, datetime | None]:
    """Both in UTC, if `start` is not after `end`; None is no bound."""
    first, last = require_time("start", start), require_time("end", end)
    if first is not None and last is not None and first > last:
        raise QueryError(f"start {first.isoformat()}: is after end {last.isoformat()}; swap them")
    return first, last


def require_key(found: int | str) -> int | None:
    """`found` as a market key, if it is one or spells one; None if it is to be a market id."""
    text = str(found).strip()
    if isinstance(found, str) and ":" in text:
        return None
    if isinstance(found, bool) or not text.removeprefix("-").isdecimal() or not -LARGEST_KEY <= int(text) < LARGEST_KEY:
        raise QueryError(f"market {found!r}: give its id, as in kalshi:TICKER, or its market_key")
    return int(text)

"""What adapters read alike: instants, optional fields, the fingerprint of a market's rules."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from lake.clock import parse_time, to_us
from lake.errors import BadFrame

LAST_US: Final = to_us(datetime.max.replace(tzinfo=UTC))


def instant(text: str | None) -> int | None:
    """Microseconds; None for no time, or the zero time that stands for it. Raises `BadFrame`."""
    if not text:
        return None
    try:
        moment = parse_time(text)
    except (ValueError, OverflowError):
        raise BadFrame(f"time {text[:40]!r} cannot be read") from None
    return None if moment.year < 1970 else to_us(moment)


def since_epoch(us: int) -> int:
    """`us` itself; raises `BadFrame` if no date stands for it."""
    if not 0 <= us <= LAST_US:
        raise BadFrame("time is outside the years 1970 to 9999")
    return us


def said(**fields: Any) -> dict[str, Any]:
    """The fields that were said: those that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def rules_hash(*texts: str | None) -> str | None:
    """A fingerprint of the rules, so that a change of them is seen; None without any."""
    text = "\n".join(part for part in texts if part)
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest() if text else None

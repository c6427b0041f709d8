"""What adapters read alike: instants, optional fields, the fingerprint of a market's rules."""

from hashlib import blake2b
from typing import Any

from lake.clock import parse_time, to_us
from lake.errors import BadFrame


def instant(text: str | None) -> int | None:
    """Microseconds; None for no time, or the zero time that stands for it. Raises `BadFrame`."""
    if not text:
        return None
    try:
        moment = parse_time(text)
    except ValueError:
        raise BadFrame(f"time {text[:40]!r} cannot be read") from None
    return None if moment.year < 1970 else to_us(moment)


def said(**fields: Any) -> dict[str, Any]:
    """The fields that were said: those that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def rules_hash(*texts: str | None) -> str | None:
    """A fingerprint of the rules, so that a change of them is seen; None without any."""
    text = "\n".join(part for part in texts if part)
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest() if text else None

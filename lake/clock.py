"""Time in UTC: microseconds since the epoch, bar edges, partition days.

No function here, or anywhere below the command line, asks the wall clock by itself: "now" is an
argument, so a replay runs on the recording's clock and a test on its own.
"""

from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_UNITS = {"s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch; raises ValueError on a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: give it in UTC")
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """The UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=us)


def parse_time(text: str) -> datetime:
    """An RFC 3339 instant in UTC, microsecond precision; raises ValueError.

    Fractions of any length are cut to microseconds, as venues send from none to nine digits.
    A text without an offset is taken as UTC.
    """
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_span(text: str) -> timedelta:
    """A window such as `90s`, `5m`, `1h` or `7d`; raises ValueError."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or int(number) == 0:
        raise ValueError(f"{text!r} is no window: write a number and s, m, h or d, as in 15m")
    return timedelta(microseconds=int(number) * _UNITS[unit])


def day_of(us: int) -> date:
    """The partition day, in UTC."""
    return from_us(us).date()


def floor_to(us: int, width_us: int) -> int:
    """The closed left edge of the interval of `width_us` that holds `us`."""
    return us - us % width_us

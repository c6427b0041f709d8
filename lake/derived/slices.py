"""A look-back window as the two slices that a move compares, and what must be loaded to see them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

WINDOWS: Final[Mapping[str, timedelta]] = {
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
}
"""Name to width of the usual windows; every other width is as good."""

DAY: Final = timedelta(hours=24)
MIN_SLICE: Final = timedelta(seconds=15)
MAX_SLICE: Final = timedelta(minutes=5)


class Span(NamedTuple):
    """The time (start, end]."""

    start: datetime
    end: datetime


class Slices(NamedTuple):
    """The spans of one window: both slices, what lies between them, and all that ends at `as_of`."""

    then: Span
    between: Span
    now: Span
    whole: Span


def slices(as_of: datetime, window: timedelta) -> Slices:
    """The spans of `window` ending at `as_of`; a slice is a fiftieth of it, from 15 s to 5 min."""
    width = min(max(window / 50, MIN_SLICE), MAX_SLICE)
    opening = as_of - window
    return Slices(
        then=Span(opening - width, opening),
        between=Span(opening, as_of - width),
        now=Span(as_of - width, as_of),
        whole=Span(opening, as_of),
    )


def needs(as_of: datetime, window: timedelta) -> Span:
    """What to load for `movers.moves`: quotes, trades and gaps from `start` up to and with `end`.

    Older rows: `carry.carry(..., before=start)`. It reaches back 24 hours at least, for the volume of the day; rows of
    `schema.VENUE_STATS` are of use from 24 hours before `as_of`.
    """
    return Span(min(slices(as_of, window).then.start, as_of - DAY), as_of)

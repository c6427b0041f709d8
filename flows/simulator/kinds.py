"""What kinds of events the simulated world holds: how long they live, how many markets they have, how they move."""

from dataclasses import dataclass
from typing import Final

from lake.clock import DAY_US, HOUR_US, MINUTE_US


@dataclass(frozen=True, slots=True)
class EventKind:
    """A family of events of one kind has an event a period, one after the other."""

    code: str
    category: str
    tags: tuple[str, ...]
    periods: tuple[int, ...]  # microseconds; a family has one of them
    members: tuple[int, int]  # markets of an event, from and to
    swing: float  # logits that a market moves over its life, or over a month of it
    weight: int  # families of this kind among those of all kinds
    activity: float = 1.0  # messages, relative
    is_exclusive: bool = False  # one member ends with yes
    is_ladder: bool = False  # members are thresholds of one number, each less likely than the one before


_MONTHS: Final = tuple(DAY_US * days for days in (21, 45, 90, 150, 240))
_WEEKS: Final = tuple(DAY_US * days for days in (7, 14, 28))
_MEETINGS: Final = (42 * DAY_US,)

KINDS: Final = (
    EventKind("5M", "Crypto", ("Up or Down", "5M"), (5 * MINUTE_US,), (1, 1), 1.6, 1, 5.0),
    EventKind("15M", "Crypto", ("Up or Down", "15M"), (15 * MINUTE_US,), (1, 1), 1.6, 1, 5.0),
    EventKind("HOUR", "Crypto", ("Hourly",), (HOUR_US,), (2, 6), 1.5, 1, 3.0, is_ladder=True),
    EventKind("DAY", "Crypto", ("Daily",), (DAY_US,), (3, 8), 1.5, 1, 2.0, is_ladder=True),
    EventKind("YEAR", "Crypto", ("Crypto Prices",), _MONTHS, (2, 6), 1.2, 1, 2.0, is_ladder=True),
    EventKind("HIGH", "Climate and Weather", ("Daily Temperature",), (DAY_US,), (5, 8), 1.4, 2, 0.8, is_exclusive=True),
    EventKind("RAIN", "Climate and Weather", ("Rain",), (DAY_US,), (1, 1), 1.4, 1, 0.3),
    EventKind("WARM", "Climate and Weather", ("Global Temperature",), (28 * DAY_US,), (1, 3), 0.8, 1, 0.3),
    EventKind("GAME", "Sports", ("Games",), (DAY_US, 2 * DAY_US, 3 * DAY_US), (1, 3), 1.6, 6, 3.0),
    EventKind("PLAYER", "Sports", ("Player Props",), (DAY_US, 2 * DAY_US), (2, 5), 1.2, 2, 0.7, is_ladder=True),
    EventKind("SEASON", "Sports", ("Futures",), _MONTHS, (6, 12), 0.9, 2, 1.0, is_exclusive=True),
    EventKind("ELECT", "Elections", ("Global Elections",), _MONTHS, (3, 7), 0.9, 3, 2.0, is_exclusive=True),
    EventKind("PARTY", "Elections", ("Parties",), _MONTHS, (2, 3), 0.8, 2, 1.5, is_exclusive=True),
    EventKind("LEAVE", "Politics", ("Leaders",), _MONTHS, (1, 1), 0.8, 3, 1.0),
    EventKind("BILL", "Politics", ("Legislation",), _MONTHS, (1, 4), 0.8, 2, 0.8, is_ladder=True),
    EventKind("RATE", "Economics", ("Central Banks",), _MEETINGS, (3, 5), 0.9, 1, 2.0, is_exclusive=True),
    EventKind("CPI", "Economics", ("Inflation",), (28 * DAY_US,), (3, 6), 0.9, 1, 1.0, is_ladder=True),
    EventKind("PEACE", "World", ("Geopolitics",), _MONTHS, (1, 4), 0.9, 3, 1.5, is_ladder=True),
    EventKind("AWARD", "Entertainment", ("Awards",), _MONTHS, (4, 9), 0.9, 2, 0.6, is_exclusive=True),
    EventKind("FILM", "Entertainment", ("Box Office",), _WEEKS, (2, 5), 1.0, 2, 0.5, is_ladder=True),
    EventKind("MODEL", "Science and Technology", ("AI",), (28 * DAY_US,), (3, 6), 0.9, 1, 1.2, is_exclusive=True),
    EventKind("LAUNCH", "Science and Technology", ("Space",), _WEEKS, (1, 3), 0.9, 2, 0.5, is_ladder=True),
    EventKind("EARN", "Companies", ("Earnings",), _WEEKS, (1, 1), 0.9, 2, 0.6),
    EventKind("SHARE", "Companies", ("Shares",), _WEEKS, (2, 5), 1.1, 2, 0.7, is_ladder=True),
)  # fmt: skip


def kind_of(place: int) -> EventKind:
    """The kind of the family of that place: all of weight one first, then the rest, again and again."""
    return _ORDER[place * 17 % len(_ORDER)]


_ORDER: Final = tuple(kind for kind in KINDS for _ in range(kind.weight))

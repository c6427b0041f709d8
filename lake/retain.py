"""How long each table is kept, and which files are too old; whole files only, and never more than the dates foretell.

A file is due when its last day, or hour, ended longer ago than its table is kept. The newest day of a table and venue
always stays, and so does what was written or ended within a day, and what has a name that says nothing. A pass that
would take twice the days that a table has too many, as after a jump of the clock, refuses.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from typing import Final

from lake.errors import SettingError
from lake.layout import Level, Merged, Part
from lake.schema import BARS, RAW, SEALED, TABLES, Table
from lake.store import Store

KEPT: Final[Mapping[str, float]] = {
    "quotes": 30, "trades": 120, "depth": 14, "history": 120, "venue_stats": 30, "markets": 0, "events": 0,
    "gaps": 120, "dead_letters": 30, "feed_health": 30, "segments": 0, "bars/1m": 14, "bars/5m": 30, "bars/1h": 120,
    "bars/1d": 0, "blocks": 14, "carries": 14, "movers": 14, "spikes": 30, "anomalies": 30, "alerts": 30, "pairs": 14,
    "calibration": 0, "maintenance": 120,
}  # fmt: skip
"""Days by table, 0 = for ever; RETENTION_DAYS changes them. Raw frames go by RAW_RETENTION_HOURS."""

LEAST_AGE: Final = timedelta(days=1)
ALLOWED: Final = 2
"""Days that a pass may always take, as when the collector does not run every day."""

MONTHLY: Final = 62
"""Days: what is kept no longer is not merged into months, which could only go as a whole."""

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Due:
    """A file that is too old."""

    part: Part
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A table and venue of which a pass would take too much."""

    table: str
    venue: str | None
    days: int
    foretold: int

    def __str__(self) -> str:
        whose = self.table if self.venue is None else f"{self.table} of {self.venue}"
        return (
            f"{whose}: {self.days} days would go where at most {self.foretold} are too many; look at the clock and at "
            "RETENTION_DAYS, then run `movers maintain --confirm-deletions`"
        )


def kept(given: Mapping[str, float] | None, raw_hours: float) -> dict[str, timedelta | None]:
    """How long each table is kept, None = for ever; bars by interval, as in bars/1m. Raises `SettingError`."""
    given = given or {}
    unknown = sorted(given.keys() - KEPT.keys())
    if unknown:
        raise SettingError(f"RETENTION_DAYS: {', '.join(unknown)}: is no table; there are {', '.join(KEPT)}")
    days = {**KEPT, **given}
    return {name: timedelta(days=each) if each else None for name, each in days.items()} | {
        RAW.name: timedelta(hours=raw_hours)
    }


def key(part: Part) -> str:
    """By which name of `KEPT` a file is kept."""
    return f"{BARS.name}/{part.partition['interval']}" if part.table is BARS else part.table.name


def deepest(table: Table, keep: timedelta | None) -> Level:
    """Into what the files of a raw table are merged at the most."""
    if table is RAW:
        return Level.HOUR
    return Level.DAY if keep is not None and keep <= timedelta(days=MONTHLY) else Level.MONTH


def plan(
    store: Store, keep: Mapping[str, timedelta | None], now: datetime, *, confirmed: bool = False
) -> tuple[list[Due], list[Refused]]:
    """The files that are too old as of `now`, and of which tables too much would go; touches nothing."""
    groups: dict[tuple[str, str | None], list[Part]] = {}
    for table in TABLES.values():
        for part in store.listed(table):
            if table not in SEALED or store.spans(part):
                groups.setdefault((key(part), part.partition.get("venue")), []).append(part)
    found, refused = list[Due](), list[Refused]()
    for (name, venue), parts in groups.items():
        span = keep.get(name)
        if span is None:
            continue
        days = {part: _days(store, part) for part in parts}
        old = due({part: (each, _end(part, each)) for part, each in days.items()}, span, now)
        old = [part for part in old if (written := store.written(part)) is not None and written <= now - LEAST_AGE]
        taken, foretold = _union(days[part] for part in old), too_many(_union(days.values()), span)
        if len(taken) >= 2 * foretold and not confirmed:
            refused.append(Refused(name, venue, len(taken), foretold))
        else:
            found += (Due(part, store.rows(part), store.size(part)) for part in old)
    return found, refused


def due(files: Mapping[Part, tuple[Collection[date], datetime]], span: timedelta, now: datetime) -> list[Part]:
    """Of the files of a table and venue, each with its days and its end, those that are too old."""
    newest = max(max(days) for days, _ in files.values())
    return [part for part, (days, end) in files.items() if is_over(end, span, now) and newest not in days]


def is_over(end: datetime, span: timedelta, now: datetime) -> bool:
    """Whether what ended then is too old, of a table that is kept so long."""
    return end <= now - max(span, LEAST_AGE)


def too_many(days: Collection[date], span: timedelta) -> int:
    """How many of these days a table has beyond those that are kept; at least `ALLOWED`."""
    return max(ALLOWED, len(days) - ceil(span / _DAY))


def _days(store: Store, part: Part) -> frozenset[date]:
    first, last = store.days_of(part)
    return frozenset(first + place * _DAY for place in range((last - first).days + 1))


def _end(part: Part, days: Collection[date]) -> datetime:
    merged, last = Merged.parse(part.name), datetime.combine(max(days), time(), UTC)
    if part.table in SEALED and merged is not None and merged.hour is not None:
        return last + merged.hour * _HOUR + _HOUR
    return last + _DAY


def _union(sets: Iterable[frozenset[date]]) -> frozenset[date]:
    return frozenset(day for days in sets for day in days)

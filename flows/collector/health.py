"""Every message accounted for: one row a connection and minute."""

import json
from collections import Counter
from typing import Any, Final

import msgspec

from flows.venues.base import Outcome
from lake.clock import MINUTE_US

Row = tuple[Any, ...]


class MinuteState(msgspec.Struct):
    """A `Minute`, to be kept."""

    venue: str
    start: int
    frames: int
    bytes: int
    reconnects: int
    seq: int
    applied: int
    others: dict[Outcome, int]
    kinds: dict[str, int]
    rows: dict[str, int]
    lags: list[int]


class Minute:
    """What one connection brought in one minute."""

    __slots__ = ("applied", "bytes", "frames", "kinds", "lags", "others", "reconnects", "rows", "seq", "start", "venue")

    def __init__(self, venue: str, start: int) -> None:
        self.venue = venue
        self.start = start
        self.frames = self.bytes = self.reconnects = self.seq = 0
        self.applied = 0  # counted by itself: nearly every message is
        self.others: Counter[Outcome] = Counter()
        self.kinds: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.lags: list[int] = []

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Messages by what became of them."""
        return self.others + Counter({Outcome.APPLIED: self.applied})

    def row(self, connection: str, subscribed: int | None, seen: int) -> Row:
        """A row of `schema.FEED_HEALTH`."""
        quotes, trades = self.rows["quotes"], self.rows["trades"]
        lags, outcomes = sorted(self.lags), self.outcomes
        return (
            connection,
            self.start,
            self.frames,
            outcomes.total(),
            *(outcomes[outcome] for outcome in Outcome),
            json.dumps(dict(sorted(self.kinds.items()))),
            quotes,
            trades,
            self.rows.total() - quotes - trades,
            self.bytes,
            self.reconnects,
            subscribed,
            seen,
            quantile(lags, 0.5),
            quantile(lags, 0.99),
            self.seq,
        )


class Health:
    """The open minute of every connection."""

    def __init__(self) -> None:
        self._open: dict[str, Minute] = {}

    def state(self) -> dict[str, MinuteState]:
        """The open minutes by connection, for `restore`."""
        return {name: MinuteState(*(getattr(minute, field) for field in _KEPT)) for name, minute in self._open.items()}

    def restore(self, state: dict[str, MinuteState]) -> None:
        """Go on from there."""
        for name, kept in state.items():
            minute = self._open[name] = Minute(kept.venue, kept.start)
            for field in _KEPT:
                found = getattr(kept, field)
                setattr(minute, field, Counter(found) if isinstance(found, dict) else found)

    def minute(self, connection: str, venue: str, received: int) -> tuple[Minute, Minute | None]:
        """The connection's minute at `received`, and the one that ended by it."""
        start = received - received % MINUTE_US
        current = self._open.get(connection)
        if current is not None and start <= current.start:
            return current, None
        new = self._open[connection] = Minute(venue, start)
        return new, current

    def ended(self, received: int) -> list[tuple[str, Minute]]:
        """The minutes that are over by then, of connections that have been silent since."""
        over = [(name, minute) for name, minute in self._open.items() if minute.start + MINUTE_US <= received]
        for name, _ in over:
            del self._open[name]
        return over

    def finish(self) -> list[tuple[str, Minute]]:
        """The minutes that are still open."""
        ended = list(self._open.items())
        self._open.clear()
        return ended


_KEPT: Final = MinuteState.__struct_fields__


def quantile(ordered: list[int], share: float) -> float | None:
    """Of microseconds in order, in milliseconds; None without any."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 if ordered else None

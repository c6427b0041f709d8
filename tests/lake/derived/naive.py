"""The rules once more, in plain Python and one row at a time: what the tests hold the fast code against."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.builders import Row
from tests.strategies import Session

QUARTER = timedelta(minutes=15)


@dataclass
class State:
    """What one market's last rows leave behind."""

    bid: float | None = None
    ask: float | None = None
    is_live: bool = False
    last: tuple[datetime, float] | None = None
    blind_until: list[datetime] = field(default_factory=list)


def events(session: Session, market: int) -> list[tuple[datetime, int, int, str, Row]]:
    """A market's rows as (time, seq, rank, kind or id, row), in the order in which they count."""
    found: list[tuple[datetime, int, int, str, Row]] = []
    for row in session.quotes:
        if row["market_key"] == market:
            found.append((row["event_time"], row["seq"], 1, "", row))
    for row in session.trades:
        if row["market_key"] == market:
            found.append((row["event_time"], row["seq"], 2, row["trade_id"], row))
    for row in session.gaps:
        if row["market_key"] in (market, None):
            seq = row["seq"] if row["end_time"] is None else 0
            found.append((row["start_time"], seq, 0, "", row))
    return sorted(found, key=lambda event: event[:4])


def apply(state: State, event: tuple[datetime, int, int, str, Row]) -> None:
    """One event more."""
    moment, _, rank, _, row = event
    if rank == 0:
        state.bid = state.ask = state.last = None
        state.is_live = False
        if row["end_time"] is not None:
            state.blind_until.append(row["end_time"])
    elif rank == 1:
        state.is_live = all(moment >= end for end in state.blind_until)
        state.bid, state.ask = (row["bid"], row["ask"]) if state.is_live else (None, None)
    elif not row["is_block_trade"]:
        state.last = moment, row["price"]


def price(state: State, now: datetime) -> tuple[float, str] | None:
    """The reference price at `now`, and its rule."""
    bid, ask = state.bid, state.ask
    if bid is None or ask is None or bid > ask:
        return None
    if round(ask - bid, 6) <= 0.10:
        return round((bid + ask) / 2, 9), "mid"
    if state.last and now - state.last[0] < QUARTER and bid <= state.last[1] <= ask:
        return state.last[1], "last_trade"
    return None


def grid(session: Session, market: int, start: datetime, end: datetime, step: timedelta) -> list[dict[str, Any]]:
    """What holds from each step of [start, end) on; exact if every row lies on the grid."""
    rows, state, following = [], State(), events(session, market)
    moment, place = start, 0
    while moment < end:
        while place < len(following) and following[place][0] <= moment:
            apply(state, following[place])
            place += 1
        found = price(state, moment)
        rows.append({
            "time": moment, "bid": state.bid, "ask": state.ask,
            "price": found and found[0], "rule": found and found[1], "is_live": state.is_live,
        })  # fmt: skip
        moment += step
    return rows


def gap_ends(session: Session, market: int, as_of: datetime) -> list[tuple[datetime, datetime | None]]:
    """A market's gaps up to `as_of` as (start, end); an open one ends at the market's next quote, or never."""
    order = [event for event in events(session, market) if event[0] <= as_of]
    found = []
    for place, (moment, _, rank, _, row) in enumerate(order):
        if rank == 0:
            later = [event[0] for event in order[place:] if event[2] == 1]
            found.append((moment, row["end_time"] or (later[0] if later else None)))
    return found

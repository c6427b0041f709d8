"""What a back-fill has to ask for: the gaps that are on record first, then what else of a time the lake does not hold.

All of it in bars of five minutes, as venues serve history: trades are asked for by the same spans. A market is held
while its venue's feed was live and it was followed, but for its gaps; what a venue was asked for and answered is held
too, whatever it told.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from flows.collector.spans import Span, Spans, daily, is_within, joined, widened, within, without
from flows.collector.universe import Listed
from flows.venues.base import HISTORY_US
from lake.clock import SECOND_US, floor_to

PAD_US: Final = 5 * SECOND_US
"""Before and after a gap, since clocks differ: what a venue has twice is stored once."""


class Kind(StrEnum):
    """What is asked for."""

    HISTORY = "history"
    TRADES = "trades"


class Gap(NamedTuple):
    """A gap that is on record; times in microseconds."""

    market: int | None  # None = every market
    start: int
    end: int | None  # None = it goes on, or nobody knows
    place: int = 0  # among the rows that it was read from


class Ask(NamedTuple):
    """A span of one day of a market."""

    kind: Kind
    market: Listed
    start: int
    end: int
    is_gap: bool


Answered = Mapping[Kind, Mapping[int, Spans]]
"""What a venue was asked for and answered, by market."""


@dataclass(slots=True)
class Known:
    """What the lake holds of a time."""

    live: Mapping[Kind, Spans]  # when the venue's feed told of it, in whole bars
    followed: dict[int, int] = field(default_factory=dict)  # market to its first quote; others were not followed
    bars: dict[int, Spans] = field(default_factory=dict)  # of history, by market


def plan(
    markets: Iterable[Listed], gaps: Collection[Gap], known: Known, answered: Answered, start: int, end: int
) -> list[Ask]:
    """What to ask for in [start, end), both on a bar's edge: gaps of all markets first, else in the order of `markets`.

    No span is asked for twice, none that is held, and each lies in one day.
    """
    wide = [_reach(gap, end) for gap in gaps if gap.market is None]
    own: dict[int, list[Span]] = {}
    for gap in gaps:
        if gap.market is not None:
            own.setdefault(gap.market, []).append(_reach(gap, end))
    first, rest = list[Ask](), list[Ask]()
    for one in markets:
        asked = [(life_of(one, start), end)]
        missed = within(widened([*wide, *own.get(one.market, ())], HISTORY_US), *asked[0])
        for kind in Kind:
            there = [*answered[kind].get(one.market, ())]
            if kind is Kind.HISTORY:
                there += known.bars.get(one.market, ())
            due = without(missed, there)
            first += _asks(kind, one, due, is_gap=True)
            held = _held(one, kind, known, end)
            rest += _asks(kind, one, without(asked, [*there, *held, *missed]), is_gap=False)
    return first + rest


def life_of(one: Listed, start: int) -> int:
    """From when on, at or after `start`, there is something to ask for: no market has a past before it was listed."""
    return start if one.listed_time is None else max(start, floor_to(one.listed_time, HISTORY_US))


def filled(
    gaps: Iterable[Gap], markets: Sequence[Listed], known: Known, answered: Answered, until: int
) -> Iterator[Gap]:
    """The gaps that are over by `until` of which, for each of their markets, all was answered or is there as a bar."""
    by_key = {one.market: one for one in markets}
    there = {
        Kind.TRADES: answered[Kind.TRADES],
        Kind.HISTORY: {key: joined([*answered[Kind.HISTORY].get(key, ()), *known.bars.get(key, ())]) for key in by_key},
    }
    for gap in gaps:
        if gap.end is None or gap.end + PAD_US > until:
            continue
        whose = markets if gap.market is None else [one for one in [by_key.get(gap.market)] if one is not None]
        spans = [(one, widened([_reach(gap, until)], HISTORY_US)) for one in whose]
        if spans and all(
            is_within((life_of(one, span[0]), span[1]), there[kind].get(one.market, []))
            for one, found in spans
            for span in found
            for kind in Kind
        ):
            yield gap


def _reach(gap: Gap, end: int) -> Span:
    return gap.start - PAD_US, end if gap.end is None else gap.end + PAD_US


def _held(one: Listed, kind: Kind, known: Known, end: int) -> Spans:
    since = known.followed.get(one.market)
    if since is None:
        return []
    return within(known.live[kind], -floor_to(-since, HISTORY_US), end)


def _asks(kind: Kind, one: Listed, spans: Spans, *, is_gap: bool) -> list[Ask]:
    return [Ask(kind, one, first, last, is_gap) for first, last in daily(spans)]

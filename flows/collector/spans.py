"""Stretches of time as sorted, disjoint intervals [start, end) of whole microseconds: their sums and differences."""

from bisect import bisect_right
from collections.abc import Iterable

from lake.clock import DAY_US, floor_to

Span = tuple[int, int]
"""Start and end of [start, end)."""

Spans = list[Span]
"""Sorted, none empty, none touching another."""


def joined(spans: Iterable[Span]) -> Spans:
    """All of these in one, in any order, overlapping or not."""
    found: Spans = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def without(spans: Iterable[Span], others: Iterable[Span]) -> Spans:
    """What of `spans` is in none of `others`."""
    rest, found = joined(others), Spans()
    for start, end in joined(spans):
        place = max(0, bisect_right(rest, (start, start)) - 1)
        for first, last in rest[place:]:
            if first >= end:
                break
            if start < first:
                found.append((start, first))
            start = max(start, last)
        if start < end:
            found.append((start, end))
    return found


def within(spans: Iterable[Span], start: int, end: int) -> Spans:
    """What of `spans` is in [start, end)."""
    return joined((max(first, start), min(last, end)) for first, last in spans)


def widened(spans: Iterable[Span], width: int) -> Spans:
    """`spans` out to whole multiples of `width`."""
    return joined((floor_to(start, width), -floor_to(-end, width)) for start, end in spans if start < end)


def is_within(span: Span, spans: Spans) -> bool:
    """Whether all of `span` is in one of `spans`; an empty one always is."""
    start, end = span
    if start >= end:
        return True
    place = bisect_right(spans, start, key=lambda one: one[0]) - 1
    return place >= 0 and end <= spans[place][1]


def daily(spans: Iterable[Span]) -> Spans:
    """`spans` cut at midnight UTC, so that each lies in one day; these may touch."""
    found: Spans = []
    for start, end in spans:
        while start < end:
            edge = min(end, floor_to(start, DAY_US) + DAY_US)
            found.append((start, edge))
            start = edge
    return found

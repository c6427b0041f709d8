"""A recorded day told again: the items of table `raw`, to this program's parsers, with the state that they began from.

A life's day begins with the newest anchor before it (`flows.collector.raw`); what lies between the two is told as well,
without rows. Where there is no anchor, nothing is known at first: rows come once each book is sent whole.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import msgspec
import polars as pl

from flows.collector import raw
from flows.collector.journal import Item, Withheld
from flows.collector.making import Make
from flows.collector.pipeline import Pipeline
from flows.collector.segments import Segment
from lake import ledger
from lake.errors import LakeError
from lake.layout import Life, SeqRange
from lake.schema import RAW, SEGMENTS, SEQ_BITS
from lake.store import Store

AT_ONCE: Final = 20  # segments whose frames are in memory together


@dataclass(frozen=True, slots=True)
class Day:
    """The segments of one life on one day of which the frames are kept, in order."""

    life: Life
    day: date
    spans: tuple[SeqRange, ...]

    @property
    def first(self) -> int:
        """The `seq` with which it begins."""
        return self.spans[0].first

    @property
    def last(self) -> int:
        """The `seq` with which it ends."""
        return self.spans[-1].last


def days(store: Store, day: date) -> tuple[list[Day], int]:
    """What can be told again of that day, a `Day` a life, and how many of its segments cannot."""
    lines = ledger.remembered(store, SEGMENTS).filter(pl.col("date") == day).collect()
    spans = sorted({SeqRange(*row) for row in lines.select("collector", "epoch", "first_seq", "last_seq").iter_rows()})
    with_raw = lines.filter(pl.col("table") == RAW.name)
    kept = {SeqRange(*row) for row in with_raw.select("collector", "epoch", "first_seq", "last_seq").iter_rows()}
    there = _there(store, day)
    found: dict[Life, list[SeqRange]] = {}
    for span in spans:
        if span in kept and any(low <= span.first and span.last <= high for low, high in there.get(span.collector, ())):
            found.setdefault(Life(span.collector, span.epoch), []).append(span)
    told = sum(map(len, found.values()))
    return [Day(life, day, tuple(its)) for life, its in sorted(found.items())], len(spans) - told


def _there(store: Store, day: date) -> dict[str, list[tuple[int, int]]]:
    """The `seq`s of the frames that are there, first and last, by collector and life: retention may have taken some."""
    rows = store.scan(RAW, dates=[day]).group_by("collector", pl.col("seq") // (1 << SEQ_BITS))
    ends = rows.agg(low=pl.col("seq").min(), high=pl.col("seq").max())
    found: dict[str, list[tuple[int, int]]] = {}
    for collector, _, low, high in ends.collect().iter_rows():
        found.setdefault(collector, []).append((low, high))
    return found


def segments(
    store: Store, day: Day, make: Make, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Segment]:
    """The day's segments anew, in order, each with all its rows. Raises `LakeError` on frames that cannot be read."""
    sealed: list[Segment] = []
    pipeline, is_told_less = make(sealed.append), False
    for item, known in _before(store, day):
        pipeline = _restored(make, sealed, known) if known else pipeline
        pipeline.take(item)
    sealed.clear()
    for number in range(0, len(day.spans), AT_ONCE):
        some = day.spans[number : number + AT_ONCE]
        for item, known in raw.items(_rows(store, day, some[0].first, some[-1].last)):
            pipeline.take(item)
            yield from sealed
            sealed.clear()
            is_told_less |= isinstance(item, Withheld)
            if known and is_told_less:  # what a catalogue's pages told is only there
                pipeline, is_told_less = _restored(make, sealed, known), False
        progress(min(number + AT_ONCE, len(day.spans)), len(day.spans))
    if pipeline.open is not None:  # the life's last segment, which no item ends
        pipeline.finish(pipeline.open.last_received)
    yield from sealed


def _restored(make: Make, sealed: list[Segment], known: bytes) -> Pipeline:
    pipeline = make(sealed.append)
    try:
        pipeline.restore(known)
    except msgspec.DecodeError as exc:
        raise LakeError("raw: what was known at an anchor was written by another program; nothing was changed") from exc
    return pipeline


def _before(store: Store, day: Day) -> Iterable[tuple[Item, bytes]]:
    """The newest anchor before the day, and the items between; nothing if there is none."""
    dates = [day.day - timedelta(days=1), day.day]
    rows = store.scan(RAW, dates=dates).filter(_is_of(day.life), pl.col("seq") < day.first)
    is_anchor = (pl.col("kind") == "CUT") & ~pl.col("frame").bin.starts_with(b"{")
    place = rows.filter(is_anchor).select(pl.col("seq").max()).collect().item()
    return () if place is None else raw.items(rows.filter(pl.col("seq") >= place).collect())


def _rows(store: Store, day: Day, first: int, last: int) -> pl.DataFrame:
    is_in = pl.col("seq").is_between(first, last)
    return store.scan(RAW, dates=[day.day]).filter(_is_of(day.life), is_in).collect()


def _is_of(life: Life) -> pl.Expr:
    first = life.epoch << SEQ_BITS
    return (pl.col("collector") == life.collector) & pl.col("seq").is_between(first, first + (1 << SEQ_BITS) - 1)

"""Closed hours, then days, then months become one sorted file a table and venue; no row is changed, added or lost.

`plan` decides and touches nothing; `merge` writes one file, reads it again from disk, holds it against what its inputs
are known to hold, publishes it, and only then moves the inputs to the trash. Killed at any step, a reader still sees
every row once (`lake.covers`), and the next pass finishes. What comes late, from a life that was recovered afterwards,
makes a new edition of the file; a published file never changes, since a reader may have listed it already.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from lake import layout, ledger, parquet
from lake.covers import FOOTER, Cover, Ranges, coalesced, uncovered
from lake.errors import LakeError, LakeUnwritable
from lake.layout import Level, Merged, Part, SeqRange
from lake.parquet import Written
from lake.rowhash import added
from lake.schema import SEGMENTS, Table
from lake.store import Store

SETTLE: Final = timedelta(minutes=10)
"""How long after its end an hour or a day is closed."""

SETTLE_MONTH: Final = timedelta(days=7)

AT_ONCE: Final = 128 << 20
"""Bytes of rows that a merge holds at once, about."""

_EDGES: Final = 2_000
_PIECE: Final = 1_000_000  # rows
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

_FAULTS: Final = (LakeError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True, slots=True)
class Merge:
    """One file to be made of others of the same table and venue."""

    target: Part
    level: Level
    inputs: tuple[Part, ...]
    ranges: Ranges  # of the inputs, and of segments between them that left no rows here


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass would do at one level."""

    merges: list[Merge]
    leftovers: list[Part]  # covered by another file, as after a kill


@dataclass(slots=True)
class Done:
    """What became of a merge."""

    merge: Merge
    rows: int
    bytes: int
    skipped: list[str]  # inputs that are damaged, each with its fault; they stay where they are


class Ledger:
    """What `segments` says of the sealed segments: when each began, and what its files hold."""

    def __init__(self, store: Store) -> None:
        columns = ["collector", "epoch", "first_seq", "last_seq", "table", "venue", "rows", "rows_hash"]
        times = ["opened_time", "first_received_time", "first_time"]
        self._known: dict[tuple[str, str | None], Mapping[SeqRange, tuple[int, int | None]]] = {}
        self._lines = ledger.remembered(store, SEGMENTS).select(*columns, *times, "partition_date").collect()

    @cached_property
    def begun(self) -> Mapping[SeqRange, datetime | None]:
        """When each segment began, by our clock; None where an older program did not say."""
        began = pl.coalesce(pl.col("opened_time").min(), pl.col("first_received_time").min())
        each = self._lines.group_by("collector", "epoch", "first_seq", "last_seq").agg(began.alias("began"))
        return {SeqRange(*span): began for *span, began in each.iter_rows()}

    def file(self, part: Part, spans: Ranges) -> tuple[int, int | None] | None:
        """Rows and hash of a sealed file; the hash None where it is not said; None of a file that is not known."""
        return self._files(part.table, part.partition.get("venue")).get(spans[0]) if spans else None

    def segments(self, part: Part) -> Collection[SeqRange]:
        """The segments that left rows in the table and venue of that file."""
        return self.begun if part.table is SEGMENTS else self._files(part.table, part.partition.get("venue"))

    def _files(self, table: Table, venue: str | None) -> Mapping[SeqRange, tuple[int, int | None]]:
        if (table.name, venue) not in self._known:
            is_it = (pl.col("table") == table.name) & pl.col("venue").eq_missing(pl.lit(venue, pl.String))
            columns = ("collector", "epoch", "first_seq", "last_seq", "rows", "rows_hash")
            lines = self._lines.filter(is_it).select(columns).iter_rows()
            self._known[table.name, venue] = {SeqRange(*span): (rows, found) for *span, rows, found in lines}
        return self._known[table.name, venue]

    @cached_property
    def _lives(self) -> Mapping[tuple[str, int], list[SeqRange]]:
        lives: dict[tuple[str, int], list[SeqRange]] = {}
        for span in sorted(self.begun):
            lives.setdefault((span.collector, span.epoch), []).append(span)
        return lives

    def filled(self, ranges: Iterable[SeqRange], full: Collection[SeqRange]) -> Ranges:
        """`ranges` coalesced, with the segments between them of the same life that are not in `full`: without rows."""
        found = list(coalesced(ranges))
        for life in {(span.collector, span.epoch) for span in found}:
            own = [span for span in found if (span.collector, span.epoch) == life]
            first, last = own[0].first, own[-1].last
            between = (span for span in self._lives.get(life, ()) if first <= span.first and span.last <= last)
            found += (span for span in between if span not in full)
        return coalesced(found)


def plan(store: Store, known: Ledger, table: Table, level: Level, now: datetime) -> Plan:
    """What is to be merged into files of that level as of `now`; reads the listing and footers, touches nothing.

    Files that the ledger does not know, or whose name says nothing, are left alone.
    """
    groups: dict[tuple[str | None, datetime], list[Part]] = {}
    leftovers: list[Part] = []
    editions: dict[tuple[str | None, datetime], int] = {}
    by_venue: dict[str | None, list[Part]] = {}
    for part in store.listed(table):
        by_venue.setdefault(part.partition.get("venue"), []).append(part)
    for venue, parts in by_venue.items():
        there = _uncovered(store, parts)
        leftovers += (part for part in parts if part not in there)
        for part in parts:
            place, merged = _place(store, known, part, level), Merged.parse(part.name)
            if place is None or not _is_closed(place, level, now):
                continue
            if merged is not None and merged.level is level:
                editions[venue, place] = max(merged.edition, editions.get((venue, place), 0))
            if part in there:
                groups.setdefault((venue, place), []).append(part)
    merges = []
    for (venue, place), parts in groups.items():
        if any(_level(part) < level for part in parts):
            target = _target(table, venue, level, place, editions.get((venue, place), 0) + 1)
            spans = [span for part in parts for span in store.spans(part)]
            ranges = known.filled(spans, known.segments(target))
            merges.append(Merge(target, level, tuple(parts), ranges))
    return Plan(sorted(merges, key=lambda merge: merge.target.path), leftovers)


def merge(store: Store, known: Ledger, wanted: Merge, now: datetime) -> Done:
    """Make the file, and move its inputs to the trash.

    A damaged input is left where it is and named; the others are merged, if there is anything to merge. Raises
    `LakeUnwritable`, and `LakeError` if what was written is not what the inputs hold: then nothing was published.
    """
    parts, ranges, skipped = wanted.inputs, wanted.ranges, list[str]()
    try:
        rows = _publish(store, known, wanted.target, parts, ranges)
    except LakeUnwritable:
        raise
    except _FAULTS as exc:
        parts, skipped = _sound(store, known, parts)
        if not skipped:
            raise LakeError(f"{wanted.target.path}: was not merged: {exc}") from exc
        if not any(_level(part) < wanted.level for part in parts):
            return Done(wanted, 0, 0, skipped)
        spans = [span for part in parts for span in store.spans(part)]
        rows = _publish(store, known, wanted.target, parts, known.filled(spans, known.segments(wanted.target)))
    store.trash(parts, now)
    return Done(wanted, rows, store.size(wanted.target), skipped)


def _publish(store: Store, known: Ledger, target: Part, parts: Iterable[Part], ranges: Ranges) -> int:
    """Write, read again, compare, publish; the rows."""
    table, inputs = target.table, list(parts)
    said = [_said(store, known, part) or _read(store, part) for part in inputs]
    rows, total = sum(count for count, _ in said), added(found for _, found in said)
    days = [store.days_of(part) for part in inputs]
    first, last = min(day for day, _ in days), max(day for _, day in days)

    def footer(written: Written) -> dict[bytes, bytes]:
        times = written.first_time, written.last_time
        return {FOOTER: Cover(ranges, first, last, written.rows, written.rows_hash, *times).dump()}

    def check(path: Path) -> None:
        found = parquet.read(path, table)
        if (found.rows, found.rows_hash) != (rows, total):
            raise LakeError(f"{target.path}: {found.rows:,} rows were read back, {rows:,} expected, or other values")

    store.publish_file(target, lambda path: parquet.write(path, table, _slabs(store, table, inputs), footer), check)
    return rows


def _slabs(store: Store, table: Table, parts: list[Part]) -> Iterator[pl.DataFrame]:
    """The rows of all files in the table's order, as many at once as memory is meant to hold."""
    rows = store.scan_parts(table, parts).select(*table.columns)
    pieces = _pieces(table, [store.metadata(part) for part in parts])
    for bounds in pieces:
        piece = rows.filter(*bounds).sort(*table.order, maintain_order=True).collect()
        if piece.height or len(pieces) == 1:
            yield piece


def _pieces(table: Table, footers: Iterable[pq.FileMetaData]) -> list[list[pl.Expr]]:
    """Conditions that cut the rows, in the table's order, into pieces of about `AT_ONCE` bytes.

    By the statistics of row groups of the order's first column, or where that is a text, as the collector of raw
    frames, of the second for each of its values; one piece where neither is a number.
    """
    groups = [footer.row_group(place) for footer in footers for place in range(footer.num_row_groups)]
    if _size(table, groups) <= AT_ONCE:
        return [[]]
    lead, then, *_ = *table.order, table.order[0]
    if table.columns[lead] == pl.Int64():
        return _between(lead, _cuts(table, groups, lead))
    ends = [_ends(group, lead) for group in groups]
    if table.columns[lead] != pl.String() or table.columns[then] != pl.Int64() or None in ends or not ends:
        return [[]]
    values = sorted({value for end in ends if end for value in end})
    found = []
    for value, bounds in zip(values, _between(lead, values[1:]), strict=True):
        own = [(group, end) for group, end in zip(groups, ends, strict=True) if end and end[0] <= value <= end[1]]
        is_pure = all(end == (value, value) for _, end in own)
        cuts = _cuts(table, [group for group, _ in own], then) if is_pure else []
        found += [[*bounds, *inner] for inner in _between(then, cuts)]
    return found


def _between(name: str, cuts: Sequence[Any]) -> list[list[pl.Expr]]:
    """Conditions of the rows before the first cut, from it to the next, and so on."""
    column = pl.col(name)
    return [
        ([] if low is None else [column >= low]) + ([] if high is None else [column < high])
        for low, high in pairwise([None, *cuts, None])
    ]


def _cuts(table: Table, groups: Sequence[pq.RowGroupMetaData], name: str) -> list[int]:
    """Values of a number's column that cut rows into pieces of about `AT_ONCE` bytes, taken as spread evenly."""
    count, size = sum(group.num_rows for group in groups), _size(table, groups)
    if size <= AT_ONCE:
        return []
    ends = [_ends(group, name) for group in groups]
    if None in ends:
        return []
    low, high = (np.array(end, np.float64) for end in zip(*filter(None, ends), strict=True))
    rows = np.array([group.num_rows for group in groups], np.float64)
    edges = np.unique(np.concatenate([low, high]))
    edges = np.unique(edges[np.linspace(0, len(edges) - 1, min(len(edges), _EDGES)).astype(int)])
    share = np.zeros(len(edges))
    for first, last, weight in zip(low, high, rows, strict=True):
        share += weight * np.clip((edges - first) / max(last - first, 1.0), 0, 1)
    pieces = -(-size // AT_ONCE)
    wanted = np.arange(1, pieces) * count / pieces
    return sorted({int(cut) for cut in np.interp(wanted, share, edges)})


def _size(table: Table, groups: Iterable[pq.RowGroupMetaData]) -> int:
    """Bytes of these rows in memory, about."""
    return sum(max(8 * len(table.columns) * group.num_rows, group.total_byte_size) for group in groups)


def _ends(group: pq.RowGroupMetaData, name: str) -> tuple[Any, Any] | None:
    """The least and the greatest value of a column in a row group, if the file says, and none is null."""
    for place in range(group.num_columns):
        column = group.column(place)
        if column.path_in_schema == name and column.is_stats_set and column.statistics.has_min_max:
            found = column.statistics
            return None if found.null_count else (found.min, found.max)
    return None


def _said(store: Store, known: Ledger, part: Part) -> tuple[int, int] | None:
    """Rows and hash of a file by its footer or by the ledger; None if neither says."""
    cover = store.cover(part)
    if cover is not None:
        return cover.rows, cover.rows_hash
    rows, found = known.file(part, store.spans(part)) or (0, None)
    return None if found is None else (rows, found)


def _read(store: Store, part: Part) -> tuple[int, int]:
    """Rows and hash of a file, read in pieces. Raises what its reader raises."""
    found, rows = Written(), store.scan_parts(part.table, [part]).select(*part.table.columns)
    for first in range(0, store.metadata(part).num_rows, _PIECE):
        found.add(rows.slice(first, _PIECE).collect(), None)
    return found.rows, found.rows_hash


def _sound(store: Store, known: Ledger, parts: Iterable[Part]) -> tuple[tuple[Part, ...], list[str]]:
    """Of these files those that can be read and hold what they should, and what is wrong with the others."""
    sound, faults = [], []
    for part in parts:
        try:
            said, found = _said(store, known, part), _read(store, part)
        except _FAULTS as exc:
            faults.append(f"{part.path}: cannot be read ({' '.join(str(exc).split())[:200]})")
            continue
        if said in (None, found):
            sound.append(part)
        else:
            faults.append(f"{part.path}: does not hold the rows that were written to it")
    return tuple(sound), faults


def _level(part: Part) -> Level:
    merged = Merged.parse(part.name)
    return Level.SEGMENT if merged is None else merged.level


def _place(store: Store, known: Ledger, part: Part, level: Level) -> datetime | None:
    """When the hour, day or month begins that a file belongs to at that level; None = it is not merged there."""
    merged = Merged.parse(part.name)
    day = datetime.combine(part.day, time(), UTC)
    if merged is None:
        spans = store.spans(part)
        if level is not Level.HOUR or not spans or spans[0] not in known.begun:
            return None
        began = known.begun[spans[0]]
        if began is None or not day <= began < day + _DAY:
            began = day if began is None or began < day else day + _DAY - _HOUR
        return began.replace(minute=0, second=0, microsecond=0)
    if level not in (merged.level, merged.level + 1) or store.cover(part) is None:
        return None
    match level:
        case Level.HOUR:
            return day.replace(hour=merged.hour or 0)
        case Level.MONTH:
            return day.replace(day=1)
        case _:
            return day


def _is_closed(place: datetime, level: Level, now: datetime) -> bool:
    match level:
        case Level.HOUR:
            return place + _HOUR + SETTLE <= now
        case Level.DAY:
            return place + _DAY + SETTLE <= now
        case _:
            return (place + 31 * _DAY).replace(day=1) + SETTLE_MONTH <= now


def _target(table: Table, venue: str | None, level: Level, place: datetime, edition: int) -> Part:
    name = Merged(level, place.hour if level is Level.HOUR else None, edition).name
    values = {"date": place.date()} | ({} if venue is None else {"venue": venue})
    return layout.part(table, name, **values)


def _uncovered(store: Store, parts: list[Part]) -> set[Part]:
    ordered = sorted(parts, key=_level)
    return set(uncovered({part: store.spans(part) for part in ordered}))

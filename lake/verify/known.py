"""What a survey goes by: the inventory, the lines of the ledger and the gaps, and what follows from them at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

import polars as pl

from lake import layout
from lake.clock import DAY_US, HOUR_US, MINUTE_US, from_us, parse_time, to_us
from lake.covers import uncovered
from lake.layout import Life, SeqRange
from lake.retain import is_over
from lake.schema import GAPS, QUOTES, SEALED, SEGMENTS, TABLES, TRADES, Table
from lake.verify.findings import Line
from lake.verify.inventory import File, Inventory

YOUNG_US: Final = 60 * MINUTE_US
"""What is younger may be the work of somebody who is still at it."""

PRICED: Final = (QUOTES, TRADES, GAPS)
"""Tables whose loss means that prices were not seen: it belongs in `gaps`."""


class Segment(NamedTuple):
    """A sealed segment, by its lines: when its first and last frame came, by our clock; None = unknown."""

    span: SeqRange
    first_us: int | None
    last_us: int | None


class Ledger(NamedTuple):
    """All lines of `segments`."""

    segments: list[Segment]  # in order
    lines: list[Line]


class Known(NamedTuple):
    """What the checks go by."""

    inventory: Inventory
    ledger: Ledger
    wide: Sequence[tuple[str, int, int | None]]  # gaps of whole venues: venue; start and end, microseconds
    kept: Mapping[str, timedelta | None]  # how long tables are kept, by name; None, or not there = for ever
    now_us: int


def ledger_of(rows: pl.DataFrame) -> Ledger:
    """`schema.SEGMENTS` rows, each once or more, as segments and lines."""
    times: dict[SeqRange, tuple[int | None, int | None]] = {}
    lines: dict[str, Line] = {}
    received = {name: pl.col(name).to_physical() for name in _TIMES}
    for row in rows.with_columns(**received).iter_rows(named=True):
        span = SeqRange(row["collector"], row["epoch"], row["first_seq"], row["last_seq"])
        first, last = _ends(row)
        before = times.get(span, (None, None))
        times[span] = _least(before[0], first), _most(before[1], last)
        if row["table"] is not None:
            table = TABLES[row["table"]]
            part = layout.part(table, span.name, venue=row["venue"], date=row["partition_date"])
            told = (row["rows"], row["bytes"], row["rows_hash"])
            path = part.path.as_posix()
            lines[path] = Line(span, table, part, path, *told, None, None)
    segments = [Segment(span, *times[span]) for span in sorted(times)]
    return Ledger(segments, [_timed(line, times[line.span]) for line in lines.values()])


_TIMES: Final = (
    "opened_time", "closed_time", "first_received_time", "last_received_time", "first_time", "last_time",
)  # fmt: skip


def _ends(row: Mapping[str, int | None]) -> tuple[int | None, int | None]:
    """The segment's own times, else those of its rows."""
    firsts = [row[name] for name in ("opened_time", "first_received_time", "first_time") if row[name] is not None]
    lasts = [row[name] for name in ("closed_time", "last_received_time", "last_time") if row[name] is not None]
    return firsts[0] if firsts else None, lasts[0] if lasts else None


def _timed(line: Line, ends: tuple[int | None, int | None]) -> Line:
    return replace(line, first_us=ends[0], last_us=ends[1])


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def is_retired(known: Known, line: Line) -> bool:
    """Whether the rows of a line may be gone for their age."""
    return _is_retired(known, line.table, span_us(line)[0])


def is_unlined(known: Known, day: date) -> bool:
    """Whether the lines of segments of that day may be gone for their age, while their files are kept."""
    return _is_retired(known, SEGMENTS, to_us(datetime.combine(day, time(), UTC)))


def _is_retired(known: Known, table: Table, first_us: int) -> bool:
    """The least that goes at once is an hour's file."""
    kept, end = known.kept.get(table.name), first_us - first_us % HOUR_US + HOUR_US
    return kept is not None and is_over(from_us(end), kept, from_us(known.now_us))


def is_on_record(known: Known, line: Line) -> bool:
    """Whether the loss of a file is noted: in the quarantine, and in `gaps` if prices rest on its table."""
    is_noted = line.path in known.inventory.quarantine
    return is_noted and (line.table not in PRICED or is_gap(known, line.part.values[0], *span_us(line)))


def is_gap(known: Known, venue: str, first_us: int, last_us: int) -> bool:
    """Whether a gap of the whole venue lies over all of that time."""
    spans = [(start, end) for name, start, end in known.wide if name == venue]
    return any(start <= first_us and (end is None or end >= last_us) for start, end in spans)


def ranges(file: File) -> tuple[SeqRange, ...]:
    """What a file holds, by its footer or its name."""
    if file.cover is not None:
        return file.cover.ranges
    return () if file.span is None else (file.span,)


def covered(inventory: Inventory) -> list[File]:
    """The files that another one covers."""
    places: dict[tuple[Table, str], list[File]] = defaultdict(list)
    for file in inventory.files.values():
        if file.part.table in SEALED and file.damage is None and ranges(file):
            places[place(file)].append(file)
    found = []
    for files in places.values():
        if any(file.cover is not None for file in files):
            kept = set(map(id, uncovered({file: ranges(file) for file in files})))
            found += [file for file in files if id(file) not in kept]
    return found


def span_us(line: Line) -> tuple[int, int]:
    """When the frames of a line came; where it does not say, the whole of its day."""
    day = to_us(parse_time(line.part.partition["date"]))
    first = day if line.first_us is None else line.first_us
    return first, max(first, day + DAY_US if line.last_us is None else line.last_us)


def place(file: File) -> tuple[Table, str]:
    """Whose rows a file may hold: of `segments`, which has no venues, those of all days."""
    return file.part.table, file.part.values[0] if "venue" in file.part.table.partitions else ""


def reached(known: Known) -> dict[Life, int]:
    """By collector's life the last sequence number in the ledger."""
    found: dict[Life, int] = {}
    for segment in known.ledger.segments:
        life = Life(segment.span.collector, segment.span.epoch)
        found[life] = max(found.get(life, -1), segment.span.last)
    return found

"""Which files another one covers, so that a reader sees each row once before, during and after a merge.

A sealed segment's file holds one range of sequence numbers, which its name says. A merged file holds those of all its
inputs, which its footer says under the key `movers`. A file whose ranges all lie within those of another one of the
same table and venue has nothing to add, and is not read.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from typing import Any, Final, Self, TypeVar

from lake.errors import BadName, LakeError
from lake.layout import SeqRange

FOOTER: Final = b"movers"

Ranges = tuple[SeqRange, ...]
File = TypeVar("File")


@dataclass(frozen=True, slots=True)
class Cover:
    """What a merged file's footer says."""

    ranges: Ranges  # coalesced, in order
    first_date: date  # the days of its segments
    last_date: date
    rows: int
    rows_hash: int
    first_time: int | None  # microseconds, of the table's `time` column; None = it has none
    last_time: int | None

    def dump(self) -> bytes:
        """As it stands in the footer."""
        ranges = [[span.collector, span.epoch, span.first, span.last] for span in self.ranges]
        days = {"first_date": self.first_date.isoformat(), "last_date": self.last_date.isoformat()}
        times = {"first_time": self.first_time, "last_time": self.last_time}
        return json.dumps({"covers": ranges, **days, "rows": self.rows, "rows_hash": self.rows_hash, **times}).encode()

    @classmethod
    def load(cls, text: bytes) -> Self:
        """What `dump` wrote; raises `LakeError`."""
        try:
            found: dict[str, Any] = json.loads(text)
            ranges = tuple(SeqRange(*span) for span in found["covers"])
            first, last = (date.fromisoformat(found[name]) for name in ("first_date", "last_date"))
            rows, rows_hash = (int(found[name]) for name in ("rows", "rows_hash"))
            return cls(ranges, first, last, rows, rows_hash, found.get("first_time"), found.get("last_time"))
        except (ValueError, KeyError, TypeError, BadName) as exc:
            raise LakeError(f"footer {FOOTER.decode()!r}: cannot be understood ({exc}); restore the file") from exc


def coalesced(ranges: Iterable[SeqRange]) -> Ranges:
    """The same ranges in order, joined where one follows or meets the other."""
    found: list[SeqRange] = []
    for span in sorted(ranges):
        last = found[-1] if found else None
        if last and (last.collector, last.epoch) == (span.collector, span.epoch) and span.first <= last.last + 1:
            found[-1] = SeqRange(last.collector, last.epoch, last.first, max(last.last, span.last))
        else:
            found.append(span)
    return tuple(found)


def holds(outer: Sequence[SeqRange], inner: Sequence[SeqRange]) -> bool:
    """Whether each range of `inner` lies within one of `outer`, which is coalesced; nothing lies in anything."""
    starts = [(span.collector, span.epoch, span.first) for span in outer]
    for span in inner:
        place = bisect_right(starts, (span.collector, span.epoch, span.first)) - 1
        if place < 0:
            return False
        found = outer[place]
        if (found.collector, found.epoch) != (span.collector, span.epoch) or span.last > found.last:
            return False
    return bool(inner)


def meet(left: Sequence[SeqRange], right: Sequence[SeqRange]) -> bool:
    """Whether a range of one and a range of the other share a frame."""
    lives: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for span in right:
        lives.setdefault((span.collector, span.epoch), []).append((span.first, span.last))
    return any(
        span.first <= last and first <= span.last
        for span in left
        for first, last in lives.get((span.collector, span.epoch), ())
    )


def uncovered(files: Mapping[File, Ranges]) -> list[File]:
    """Of these files of one table and venue those that no other one covers, in order; of equal ones the last.

    A file without ranges covers nothing and stays, so that what is wrong with it is met and said.
    """
    places = {file: place for place, file in enumerate(files)}
    lives: dict[tuple[str, int], list[tuple[int, int, File]]] = {}
    for file, ranges in files.items():
        for span in ranges:
            lives.setdefault((span.collector, span.epoch), []).append((span.first, span.last, file))
    index = {}
    for life, spans in lives.items():
        spans.sort(key=lambda span: span[:2])
        index[life] = ([first for first, *_ in spans], list(accumulate((last for _, last, _ in spans), max)), spans)

    def is_covered(file: File, ranges: Ranges) -> bool:
        span = ranges[0]
        firsts, lasts, spans = index[span.collector, span.epoch]
        place = bisect_right(firsts, span.first) - 1
        while place >= 0 and lasts[place] >= span.last:  # of no file before can a range reach so far
            other = spans[place][2]
            if (
                other != file
                and holds(files[other], ranges)
                and (not holds(ranges, files[other]) or places[other] > places[file])
            ):
                return True
            place -= 1
        return False

    return [file for file, ranges in files.items() if not ranges or not is_covered(file, ranges)]

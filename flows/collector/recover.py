"""What a life left in the write-ahead log becomes what it would have become: rows in the lake, each once.

The log's records are told to a fresh pipeline, from what was known before the first of them. Segments that the lake has
already make no rows again; the others are published under the names that they would have had. Damage ends what can be
told of a segment: the rest of it is a gap, and the next segment goes on from what was known at its own beginning. A log
is removed once all of it is in the lake, so killed at any moment, the next start does it again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from flows.collector import journal
from flows.collector.journal import Cut, Item, Kind, number_of
from flows.collector.making import Make
from flows.collector.pipeline import Pipeline
from flows.collector.sealing import Waiting, frames_of, write
from flows.collector.segments import Segment
from flows.venues.base import Closed, frame_seq
from lake import hot, ledger, wal
from lake.errors import LakeError
from lake.layout import Life
from lake.store import Store
from lake.vocab import Gap
from lake.wal import Flaw, Record


@dataclass(slots=True)
class RecoverReport:
    """What was found of a life, and what became of it."""

    life: Life
    frames: int = 0
    segments: int = 0  # published now
    rows: int = 0
    boot_id: str = ""
    flaws: list[Flaw] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"life {self.life}: {self.rows:,} rows of {self.segments:,} segments, {self.frames:,} frames"
        flaws = "".join(f"; {flaw.path.name} at byte {flaw.offset:,}: {flaw.reason}" for flaw in self.flaws)
        return told + flaws


def recover(store: Store, folder: Path, life: Life, make: Make, now: int) -> RecoverReport:
    """Seal all that the life left, and remove its log. Its venues are a gap from its last frames to `now`.

    Raises `LakeError` where the lake cannot be written: what is left stays for the next time.
    """
    report = RecoverReport(life)
    spans = [span for span in ledger.sealed(store) if (span.collector, span.epoch) == life]
    starts = [number_of(span.last, life.epoch) + 1 for span in spans]
    for segment in _segments(folder, life, make, report, starts, now):
        if not any(span.first <= segment.last_seq and segment.first_seq <= span.last for span in spans):
            frames = frames_of(segment, life.collector, report.boot_id)
            report.rows += write(store, segment, frames, life.collector, keep=True)
            report.segments += 1
        hot.remove(store.local, life, segment.first_seq)
    for flaw in report.flaws:
        wal.set_aside(flaw)
    wal.forget_all(folder, life)
    hot.remove(store.local, life)
    return report


def rebuild(folder: Path, life: Life, make: Make, waiting: Waiting) -> Segment:
    """One closed segment of a life that goes on, anew. Raises `LakeError`."""
    first = number_of(waiting.first_seq, life.epoch)
    found: list[Segment] = []
    pipeline = _known(folder, life, make, found.append, first) if first else make(found.append)
    if pipeline is None:
        raise LakeError(
            f"{folder}: what {life} knew before record {first} is gone; end the collector and start it again"
        )
    for record in wal.read(folder, life, []):
        if record.number >= first:
            pipeline.take(_item(life, record))
        if found:
            return found[0]
    raise LakeError(f"{folder}: the log of {life} ends within the segment of seq {waiting.first_seq}")


def _segments(
    folder: Path, life: Life, make: Make, report: RecoverReport, starts: Iterable[int], now: int
) -> Iterator[Segment]:
    """The life's segments as its log tells them, with the gaps of what it cannot tell, and the end of it all.

    From the last of the records `starts`, each the first after a sealed segment, before which it is known what was.
    """
    sealed: list[Segment] = []
    pipeline, first = _begin(folder, life, make, sealed.append, starts)
    last: Record | None = None
    is_told_less = False  # pages of a catalogue came in, which the log does not have
    for record in wal.read(folder, life, report.flaws):
        if record.number < first:
            continue
        if record.number != (first if last is None else last.number + 1):
            pipeline = _past(pipeline, last, record, folder, life, make, sealed.append)
            yield from sealed
            sealed.clear()
        pipeline.take(_item(life, record))
        report.frames += record.kind == Kind.FRAME
        report.boot_id = record.boot_id
        last = record
        yield from sealed
        sealed.clear()
        is_told_less |= record.kind == Kind.WITHHELD
        if is_told_less and record.kind == Kind.CUT:
            pipeline = _known(folder, life, make, sealed.append, record.number + 1) or pipeline
            is_told_less = False
    if last is None:
        return
    seq = frame_seq(life.epoch, last.number + 1)
    for venue, received in pipeline.heard().items():
        pipeline.absent(venue, received, max(now, received), seq)
    pipeline.finish(last.received, seq)
    yield from sealed


def _begin(
    folder: Path, life: Life, make: Make, seal: Callable[[Segment], None], starts: Iterable[int]
) -> tuple[Pipeline, int]:
    """A pipeline that knows what was known before a record, and that record; 0 where nothing is known."""
    for number in sorted(starts, reverse=True):
        pipeline = _known(folder, life, make, seal, number)
        if pipeline is not None:
            return pipeline, number
    return make(seal), 0


def _past(
    pipeline: Pipeline,
    last: Record | None,
    record: Record,
    folder: Path,
    life: Life,
    make: Make,
    seal: Callable[[Segment], None],
) -> Pipeline:
    """What goes on at `record`, as what was before it is lost: the segment ends with a gap up to there."""
    seq = frame_seq(life.epoch, record.number - 1)
    start = record.received if last is None else last.received
    for venue in pipeline.heard():
        pipeline.absent(venue, start, record.received, seq, Gap.SEGMENT_DAMAGED)
    pipeline.take(Cut(seq=seq, received=record.received))
    found = _known(folder, life, make, seal, record.number)
    if found is not None:
        return found
    for connection in pipeline.connections():
        pipeline.closed(Closed(connection, record.received, Gap.SEGMENT_DAMAGED))
    return pipeline


def _known(folder: Path, life: Life, make: Make, seal: Callable[[Segment], None], number: int) -> Pipeline | None:
    """A pipeline that knows what was known before that record; None if nobody kept it."""
    state, pipeline = wal.read_state(folder, life, number), make(seal)
    if state is None:
        return None
    try:
        pipeline.restore(state)
    except msgspec.DecodeError:
        return None  # another program's
    return pipeline


def _item(life: Life, record: Record) -> Item:
    seq = frame_seq(life.epoch, record.number)
    try:
        return journal.read(seq, record.kind, record.name, record.received, record.monotonic, record.payload)
    except (ValueError, msgspec.DecodeError) as exc:
        raise LakeError(f"log of {life}: record {record.number} is of a kind that this program does not know") from exc

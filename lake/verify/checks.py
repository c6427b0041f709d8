"""What the ledger, the names and the footers say of one another. Nothing is read here and nothing changed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import zip_longest

from lake import layout
from lake.clock import day_of
from lake.covers import coalesced, holds, uncovered
from lake.layout import Life, SeqRange
from lake.rowhash import added
from lake.schema import FEED_HEALTH, SEALED, SEGMENTS, SEQ_BITS, Table
from lake.verify.findings import Finding, Line, Severity, What
from lake.verify.inventory import File, Inventory
from lake.verify.known import (
    YOUNG_US,
    Known,
    Segment,
    covered,
    is_on_record,
    is_retired,
    is_unlined,
    place,
    ranges,
    reached,
)

ERROR, WARNING, INFORMATION = Severity.ERROR, Severity.WARNING, Severity.INFORMATION


def damaged(known: Known) -> list[Finding]:
    """Files that cannot be read."""
    bad = (file for file in known.inventory.files.values() if file.damage is not None)
    return [damage(known, file, file.damage or "") for file in bad]


def damage(known: Known, file: File, reason: str) -> Finding:
    """A file that cannot be read, and what brings its rows back."""
    if file.part.table not in SEALED:
        step = "run with --repair, or remove it: jobs compute that day anew once its watermark is removed"
    elif file.span is not None and known.inventory.has_wal(file.span):
        step = "run with --repair: its segment is still in the log, and the collector seals it again"
    else:
        step = "run with --repair: it goes to _quarantine, and what it was merged from comes back, or the loss is noted"
    return Finding(ERROR, What.DAMAGED, file.path, reason, step, file.part, file.span)


def listed(known: Known) -> Iterator[Finding]:
    """The files that the ledger names, and those that it does not name."""
    inventory, merged = known.inventory, _merged(known.inventory)
    named = {line.path for line in known.ledger.lines}
    spans, ends = {segment.span for segment in known.ledger.segments}, reached(known)
    for line in known.ledger.lines:
        path = line.path
        file = inventory.files.get(path)
        if file is None:
            if not holds(merged[line.table, line.part.values[0]], (line.span,)) and not is_retired(known, line):
                yield _missing(known, line)
        elif file.damage is None and file.rows != line.rows:
            found = f"{file.rows:,} rows, and the ledger says {line.rows:,}"
            yield _differs(file, found)
        elif file.damage is None and line.size not in (None, file.size):
            yield _differs(file, f"{file.size:,} bytes, and the ledger says {line.size:,}")
    for path, file in inventory.files.items():
        span = file.span
        if file.part.table not in SEALED or file.is_merged or file.damage is not None:
            continue
        if span is None:
            found = "its name is neither a sequence range nor that of a merged file"
            yield Finding(ERROR, What.UNLISTED, path, found, "move it away: readers take its rows", file.part)
        elif file.part.table is not SEGMENTS and path not in named and not is_unlined(known, file.part.day):
            is_next = span.first > ends.get(Life(span.collector, span.epoch), -1)
            yield _unlisted(known, file, span, is_sealed=span in spans, is_next=is_next)


def _merged(inventory: Inventory) -> dict[tuple[Table, str], tuple[SeqRange, ...]]:
    """By table and its first partition value what merged files cover."""
    found: dict[tuple[Table, str], list[SeqRange]] = defaultdict(list)
    for file in inventory.files.values():
        if file.cover is not None and file.damage is None:
            found[place(file)] += file.cover.ranges
    return defaultdict(tuple, {place: coalesced(ranges) for place, ranges in found.items()})


def _missing(known: Known, line: Line) -> Finding:
    path = line.path
    found = f"{line.rows:,} rows, by the ledger, and there is no file"
    if is_on_record(known, line):
        return Finding(INFORMATION, What.LOST, path, found, "nothing: the loss is noted", line.part, line.span)
    step = "run with --repair: it comes back from _trash, or the loss is noted"
    return Finding(ERROR, What.MISSING, path, found, step, line.part, line.span)


def _differs(file: File, found: str) -> Finding:
    step = "somebody wrote over it: run with --repair, which treats it as damaged"
    return Finding(ERROR, What.WRONG_ROWS, file.path, found, step, file.part, file.span)


def _unlisted(known: Known, file: File, span: SeqRange, *, is_sealed: bool, is_next: bool) -> Finding:
    found = f"{file.rows:,} rows of a segment whose line does not name it"
    if is_sealed:
        step = "somebody put it there: compare it with its neighbours, and move it away"
        return Finding(ERROR, What.UNLISTED, file.path, found, step, file.part, span)
    found = f"{file.rows:,} rows of a segment that is not in the ledger"
    if known.inventory.has_wal(span):
        step = "nothing: the collector seals it again, now or when it is started"
        return Finding(INFORMATION, What.WAITING, file.path, found, step, file.part, span)
    if is_next and known.now_us - file.modified_us < YOUNG_US:
        step = "wait: it is being sealed; after an hour it counts as broken off"
        return Finding(INFORMATION, What.WAITING, file.path, found, step, file.part, span)
    step = "a seal broke off, or the segment's line was lost: replay it again, or run with --repair"
    return Finding(ERROR, What.UNLISTED, file.path, found, step, file.part, span)


def ranged(known: Known) -> Iterator[Finding]:
    """Files whose rows lie outside the range that their name spells.

    A minute of health has the `seq` of its last frame, and lies in the segment in which it was over: maybe a later one.
    """
    for file in known.inventory.files.values():
        span = file.span
        if span is None or file.part.table not in SEALED or file.first_seq is None or file.last_seq is None:
            continue
        is_it = file.part.table is not SEGMENTS or (file.first_seq, file.last_seq) == (span.first, span.last)
        is_early = file.first_seq < (span.first if file.part.table is not FEED_HEALTH else span.epoch << SEQ_BITS)
        if not is_it or is_early or file.last_seq > span.last:
            found = f"its rows are of {file.first_seq}..{file.last_seq}"
            step = "it is a copy or was renamed: compare it with that range's file, and move it away"
            yield Finding(ERROR, What.WRONG_RANGE, file.path, found, step, file.part, span)


def contiguous(known: Known) -> Iterator[Finding]:
    """Each collector's life: one segment follows the other, or the hole is in `gaps`."""
    before: Segment | None = None
    for segment in known.ledger.segments:
        span = segment.span
        is_same = before is not None and (before.span.collector, before.span.epoch) == (span.collector, span.epoch)
        follows = before.span.last + 1 if before is not None and is_same else span.epoch << SEQ_BITS
        if span.first < follows and before is not None:
            found = f"it begins at {span.first}, and the segment before it ends at {before.span.last}"
            step = "two writers had one name: compare both, and move one away"
            yield Finding(ERROR, What.OVERLAP, span.name, found, step, None, span)
        elif span.first > follows:
            yield _hole(known, before if is_same else None, follows, segment)
        before = segment if not is_same or before is None or span.last > before.span.last else before


def _hole(known: Known, before: Segment | None, follows: int, after: Segment) -> Finding:
    span = SeqRange(after.span.collector, after.span.epoch, follows, after.span.first - 1)
    start = after.first_us if before is None else before.last_us
    found = f"{span.last - span.first + 1:,} frames between two segments are in no line of the ledger"
    if known.inventory.has_wal(span):
        step = "nothing: the log holds it, and the collector seals it now or when it is started"
        return Finding(INFORMATION, What.WAITING, span.name, found, step, None, span)
    if _touches_gap(known, start, after.first_us):
        return Finding(INFORMATION, What.LOST, span.name, found, "nothing: the loss is in gaps", None, span)
    if before is None and after.first_us is not None and is_unlined(known, day_of(after.first_us) - timedelta(days=1)):
        return Finding(INFORMATION, What.LOST, span.name, found, "nothing: they are older than is kept", None, span)
    step = "its line was lost, or its segment: run with --repair, which rebuilds the line or notes the loss"
    return Finding(ERROR, What.HOLE, span.name, found, step, None, span)


def _touches_gap(known: Known, first_us: int | None, last_us: int | None) -> bool:
    """Whether a gap of a whole venue meets that time."""
    if first_us is None or last_us is None:
        return False
    return any(start <= last_us and (end is None or end >= first_us) for _, start, end in known.wide)


def merged(known: Known) -> Iterator[Finding]:
    """What merged files cover: their rows and hashes are those of the lines, and no two overlap in part."""
    by_place: dict[tuple[Table, str], list[File]] = defaultdict(list)
    lines: dict[tuple[Table, str], list[Line]] = defaultdict(list)
    for line in known.ledger.lines:
        lines[line.table, line.part.values[0]].append(line)
    for file in known.inventory.files.values():
        if file.part.table in SEALED and file.damage is None and (file.cover is not None or file.span is not None):
            by_place[place(file)].append(file)
    sealed = coalesced(segment.span for segment in known.ledger.segments)
    for where, files in by_place.items():
        for file in files:
            if file.cover is None or where[0] is SEGMENTS:
                continue
            if is_unlined(known, file.cover.first_date):
                continue
            if not holds(sealed, file.cover.ranges):
                yield _unknown(file)
            else:
                yield from _told(file, [line for line in lines[where] if holds(file.cover.ranges, (line.span,))])
        yield from _overlaps(files)


def _unknown(file: File) -> Finding:
    found = "covers segments that are not in the ledger, so nothing says what it must hold"
    step = "lines of the ledger were lost: run with --repair, which looks for them in _trash"
    return Finding(ERROR, What.UNLISTED, file.path, found, step, file.part)


def _told(file: File, lines: list[Line]) -> Iterator[Finding]:
    assert file.cover is not None
    rows = sum(line.rows for line in lines)
    step = "move it to _quarantine with --repair, and merge again"
    if not file.rows == file.cover.rows == rows:
        found = f"{file.rows:,} rows; its footer says {file.cover.rows:,}, the ledger's lines {rows:,}"
        yield Finding(ERROR, What.WRONG_COVERS, file.path, found, step, file.part)
    hashes = [line.rows_hash for line in lines]
    known = [found for found in hashes if found is not None]
    if len(known) == len(hashes) and added(known) != file.cover.rows_hash:
        found = "the hash in its footer is not the sum of those of the segments that it covers"
        yield Finding(ERROR, What.WRONG_HASH, file.path, found, step, file.part)


def _overlaps(files: Sequence[File]) -> Iterator[Finding]:
    """Of files that none covers those that share a sequence number: their rows are read twice."""
    kept = uncovered({file: ranges(file) for file in files})
    before: tuple[SeqRange, File] | None = None
    for span, file in _ordered(kept):
        same = before is not None and (before[0].collector, before[0].epoch) == (span.collector, span.epoch)
        if before is not None and same and span.first <= before[0].last and file is not before[1]:
            found = f"shares {span.first}..{min(span.last, before[0].last)} with {before[1].path}"
            step = "their rows are read twice: find the one that is a copy, and move it away"
            yield Finding(ERROR, What.OVERLAP, file.path, found, step, file.part, file.span)
        if before is None or not same or span.last > before[0].last:
            before = span, file


def _ordered(files: Iterable[File]) -> list[tuple[SeqRange, File]]:
    return sorted(((span, file) for file in files for span in ranges(file)), key=lambda pair: (pair[0], pair[1].path))


def loose(known: Known) -> Iterator[Finding]:
    """Foreign files, temporary ones, merged inputs that are still there, and the log."""
    inventory = known.inventory
    for found in inventory.strangers:
        step = "move it away: it is never read as a table, but a plain glob may take it"
        yield Finding(WARNING, What.STRANGER, found.path, f"{found.size:,} bytes that the lake did not write", step)
    for found in inventory.temps:
        if known.now_us - found.modified_us >= YOUNG_US:
            step = "run with --repair, which removes it: a write broke off, and nothing refers to it"
            yield Finding(WARNING, What.LEFTOVER, found.path, f"a temporary file of {found.size:,} bytes", step)
    for file in covered(inventory):
        step = "nothing: readers leave it out; maintenance or --repair moves it to _trash"
        yield Finding(INFORMATION, What.LEFTOVER, file.path, "a merged file covers it", step, file.part, file.span)
    yield from _logs(known)


def _logs(known: Known) -> Iterator[Finding]:
    """What lies in the log, and whether it is sealed."""
    ends = reached(known)
    for life, logs in known.inventory.wal.items():
        follows = [log.first_seq for log in logs[1:]]
        for log, following in zip_longest(logs, follows):
            last = ends.get(life, -1)
            is_sealed = following is not None and following <= last + 1
            said = "is sealed already" if is_sealed else "is not sealed to its end, by the ledger"
            step = "nothing: the collector removes or seals it, now or when it is started"
            yield Finding(INFORMATION, What.WAITING, log.path.name, f"{log.size:,} bytes of log; {said}", step)
    for path in known.inventory.aside:
        step = "look at it, or remove it: what it cost is in gaps"
        yield Finding(INFORMATION, What.LOST, path.name, "a piece of the log that could not be read", step)


def watermarks(known: Known, marks: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Derived tables that claim to hold more than was sealed."""
    ends = {str(life): last for life, last in reached(known).items()}
    for job, lives in marks.items():
        for life, seq in lives.items():
            if "-" in life and seq > ends.get(life, -1):
                found = f"{job} has taken {life} up to {seq}, and the ledger ends at {ends.get(life, 'nothing')}"
                step = "lines were lost: run with --repair, then remove _watermarks.json, and all is computed anew"
                yield Finding(ERROR, What.AHEAD, layout.WATERMARKS, found, step)
